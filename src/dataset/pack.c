#include "dataset/pack.h"

#include <string.h>

enum { LEAST = 2 }; /* tokens of the shortest sequence with a label */

void di_packer_init(di_packer *packer, int64_t length, int32_t pack)
{
    memset(packer, 0, sizeof *packer);
    packer->length = length;
    packer->pack = pack;
}

static void shut(di_packer *packer, int32_t i)
{
    packer->open--;
    for (; i < packer->open; i++) {
        packer->window[i] = packer->window[i + 1];
        packer->room[i] = packer->room[i + 1];
    }
}

static void shut_fullest(di_packer *packer)
{
    int32_t fullest = 0;
    for (int32_t i = 1; i < packer->open; i++)
        if (packer->room[i] < packer->room[fullest]) fullest = i;
    shut(packer, fullest);
}

int64_t di_packer_place(di_packer *packer, int64_t count)
{
    for (int32_t i = 0; i < packer->open; i++) {
        int64_t window = packer->window[i];
        if (packer->room[i] < count) continue;
        packer->room[i] -= count;
        if (packer->room[i] < LEAST) shut(packer, i);
        return window;
    }
    int64_t window = packer->next++, room = packer->length - count;
    if (!packer->pack || room < LEAST) return window;
    if (packer->open && window - packer->window[0] >= DI_OPEN_AGE) shut(packer, 0);
    if (packer->open == DI_OPEN_WINDOWS) shut_fullest(packer);
    packer->window[packer->open] = window;
    packer->room[packer->open++] = room;
    return window;
}

int64_t di_packer_complete(const di_packer *packer) { return packer->open ? packer->window[0] : packer->next; }
