"""Whether two students differ by more than their seeds: Student's t of paired differences, and Holm's correction for many tests."""
import math
import statistics

from evidence import mean_sd

RARE = 0.05


def t_two_sided(t, freedom):
    """How likely |T| >= |t| is by chance: the density over angles, by Simpson's rule."""
    density = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    begin, steps = math.atan(abs(t) / math.sqrt(freedom)), 400
    width = (math.pi / 2 - begin) / steps
    weights = [1] + [4, 2] * (steps // 2 - 1) + [4, 1]
    return min(1.0, 2 * density * width / 3 * sum(w * math.cos(begin + i * width) ** (freedom - 1) for i, w in enumerate(weights)))


def paired(a, b):
    """(mean of a - b, how likely so much is by chance) over the same seeds."""
    gaps = [x - y for x, y in zip(a, b)]
    mean, deviation = statistics.mean(gaps), statistics.stdev(gaps)
    if deviation == 0:
        return mean, 1.0 if mean == 0 else 0.0
    return mean, t_two_sided(mean / (deviation / math.sqrt(len(gaps))), len(gaps) - 1)


def holm(chances):
    """The chances of many tests by name, each raised so that one false finding among all is as rare as one among one."""
    raised, highest = {}, 0.0
    for rank, (name, chance) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, chance * (len(chances) - rank)))
        raised[name] = highest
    return raised


def differences(found, base, measures, rare=RARE):
    """found {way: {measure: [of each seed]}}: per way and measure the difference from the way that is the base, how likely so much is by
    chance among all ways, and whether that is rare."""
    out = {way: {} for way in found}
    for key in measures:
        tests = {way: paired(found[way][key], found[base][key]) for way in found if way != base}
        chances = holm({way: chance for way, (_, chance) in tests.items()})
        for way, (gap, _) in tests.items():
            out[way][key] = {"difference": gap, "chance": chances[way], "real": chances[way] < rare}
    return out


def show(found, base, measures, more=None):
    """The table of found, measures {key: (title, format)}, with more = (title, {way: text}) behind it; what result files say of it."""
    against = differences(found, base, measures)
    print("\n%-26s" % "" + "".join("%22s" % title for title, _ in measures.values()) + ("%12s" % more[0] if more else ""))
    for way, row in found.items():
        line = "%-26s" % way
        for key, (_, form) in measures.items():
            mean, deviation = mean_sd(row[key])
            line += "%22s" % (form.format(mean) + " +- " + form.format(deviation) + ("*" if against[way].get(key, {}).get("real") else " "))
        print(line + ("%12s" % more[1][way] if more else ""))
    print("* differs from \"%s\" by more than chance: paired over the seeds, p < %g after Holm's correction over the ways" % (base, RARE))
    return {way: {key: {"mean": mean_sd(values)[0], "sd": mean_sd(values)[1], "seeds": values, **against[way].get(key, {})}
                  for key, values in row.items()} for way, row in found.items()}
