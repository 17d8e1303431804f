#!/usr/bin/env python3
"""Several ranks that torch.distributed carries the bytes of: a recipe under torchrun, by the library's own communicator table.

    torchrun --nproc-per-node 2 torch_ranks.py RECIPE [--resume]        # needs torch

Gloo here, which goes over any network and takes tensors of the CPU; NCCL wants its bytes on a GPU first.
"""
import argparse
import os

import torch
import torch.distributed

import distill


# PyTorch 2.13 has a new name for it
gather = getattr(torch.distributed, "all_gather_single", None) or torch.distributed.all_gather_into_tensor


def bytes_of(view):
    return torch.frombuffer(view, dtype=torch.uint8) if len(view) else torch.empty(0, dtype=torch.uint8)


class TorchRanks:
    """Sums are the library's; torch moves bytes. Memoryviews are writable and live for the call, so tensors of them cost no copy."""

    def __init__(self):
        self.rank, self.size = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def all_to_all(self, given, out):
        torch.distributed.all_to_all_single(bytes_of(out), bytes_of(given))

    def all_gather(self, given, out):
        gather(bytes_of(out), bytes_of(given))

    def broadcast(self, data, root):
        torch.distributed.broadcast(bytes_of(data), src=root)

    def barrier(self):
        torch.distributed.barrier()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.distributed.init_process_group("gloo")
    env = distill.Env(threads=max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    env.set_communicator(TorchRanks())
    trainer = distill.Trainer(arguments.recipe, env=env)
    if arguments.resume:
        trainer.resume()
    trainer.run()
    if torch.distributed.get_rank() == 0:
        print(trainer.report().to_dict()["training"])
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
