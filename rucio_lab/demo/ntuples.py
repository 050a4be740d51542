"""SYNTHETIC H->yy ntuples in the schema of the ATLAS Open Data 2020 release (tree ``mini``, energies in MeV).

None of these events was measured or comes from a detector simulation: photon pairs are drawn from simple distributions
and decayed with two-body kinematics. An analysis of the real files runs on them unchanged and gives a similar plot,
because they keep:

- the names and meaning of all branches, and the conventions of the release (data have ``XSection`` = 1 and weights 0);
- a Higgs boson of 125 GeV with a resolution of about 1.7 GeV, on a background that falls steeply with the mass;
- a peak in the data that is drawn from the same cross-sections that scale the simulated samples, for the luminosities
  of the release: 0.5, 1.9, 2.9 and 4.7 fb-1.

The background is lower than the real one, so that the peak is visible in such small files. Two things differ from the
real files, because uproot cannot write ``std::vector``: jagged branches are counted arrays (they read as the same
awkward arrays), and their counters (``photon_n``) are signed.

``python -m rucio_lab.demo.ntuples DIR --part I --of N`` writes every N-th file, with the same events each time.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

from rucio_lab.demo.samples import SAMPLES, Sample, file_names

Array = npt.NDArray[Any]

TITLE = "SYNTHETIC H->yy events of the rucio_lab demo, not ATLAS data"
"""Title of each tree."""

HIGGS_MASS = 125.0  # GeV
_PHOTON_RESOLUTION = 0.019  # relative, of each photon's energy: 1.7 GeV on the mass
_BASKET = 10_000  # events
_GEV = 1000.0  # MeV
_BACKGROUND = 70.0  # pb, before any selection: photon pairs, and jets that look like photons
_MEAN_OTHERS = {"lep": 0.05, "jet": 3.0, "tau": 0.2, "largeRjet": 0.3}  # per event
_REAL_PHOTONS = 0.06  # fraction of the background that is real photon pairs
_SIGNAL = sum(sample.cross_section for sample in SAMPLES)


def _photon_pairs(rng: np.random.Generator, signal: Array) -> dict[str, Array]:
    """Draw two photons per event, in GeV, the harder one first: arrays of shape (events, 2)."""
    count = len(signal)
    mass = np.where(signal, HIGGS_MASS, 90.0 + rng.exponential(30.0, count))
    pair_pt = rng.gamma(1.5, np.where(signal, 28.0, 14.0))
    pair_phi = rng.uniform(-np.pi, np.pi, count)
    rapidity = rng.normal(0.0, 1.0, count)
    # a scalar decays isotropically; the background is close to the beams
    cosine = rng.uniform(-1.0, 1.0, count)
    cosine = np.where(signal, cosine, np.sign(cosine) * np.abs(cosine) ** 0.7)
    angle = rng.uniform(-np.pi, np.pi, count)
    sine = np.sqrt(1.0 - cosine**2)

    half = mass / 2
    decay = half * np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine])
    transverse_mass = np.hypot(mass, pair_pt)
    energy = transverse_mass * np.cosh(rapidity)
    momentum = np.stack([pair_pt * np.cos(pair_phi), pair_pt * np.sin(pair_phi), transverse_mass * np.sinh(rapidity)])
    photons = []
    for direction in (decay, -decay):  # boost from the rest frame of the pair to the laboratory
        along = (momentum * direction).sum(axis=0)
        photons.append(direction + momentum * ((along / (energy + mass) + half) / mass))
    x, y, z = np.stack(photons, axis=-1)
    pt, phi, eta = np.hypot(x, y), np.arctan2(y, x), np.arcsinh(z / np.hypot(x, y))
    pt = pt * rng.normal(1.0, _PHOTON_RESOLUTION, pt.shape)
    order = np.argsort(-pt, axis=1)
    return {key: np.take_along_axis(v, order, axis=1) for key, v in (("pt", pt), ("eta", eta), ("phi", phi))}


def _photons(rng: np.random.Generator, pairs: Mapping[str, Array], real: Array, *, is_data: bool) -> ak.Array:
    """Add identification and isolation: real photons are mostly tight and isolated, jets mostly not."""
    shape = real.shape
    pt = pairs["pt"] * _GEV
    isolation = rng.normal(300.0, 1100.0, shape) + np.where(real, 0.0, rng.exponential(6000.0, shape))
    fields = {
        "truthMatched": real & (not is_data),
        "trigMatched": rng.random(shape) < 0.98,
        "pt": pt,
        "eta": pairs["eta"],
        "phi": pairs["phi"],
        "E": pt * np.cosh(pairs["eta"]),
        "isTightID": rng.random(shape) < np.where(real, 0.88, 0.25),
        "ptcone30": rng.exponential(np.where(real, 400.0, 3000.0), shape),
        "etcone20": isolation,
        "convType": np.where(rng.random(shape) < 0.7, 0, rng.integers(1, 6, shape)),
        "pt_syst": np.zeros(shape) if is_data else pt * rng.normal(0.0, 0.003, shape),
    }
    return _records(np.full(len(real), 2), {name: values.reshape(-1) for name, values in fields.items()})


_TYPES = {"charge": "i4", "trueflav": "i4", "convType": "i4", "nTracks": "i4", "type": "u4"}


def _records(counts: Array, fields: Mapping[str, Array]) -> ak.Array:
    """Return the records of a jagged group of branches, with the types of the release."""
    return ak.zip(
        {
            name: ak.unflatten(v if v.dtype == bool else v.astype(_TYPES.get(name, "f4")), counts)
            for name, v in fields.items()
        }
    )


def _others(rng: np.random.Generator, kind: str, mean: float, count: int) -> ak.Array:
    """Draw the leptons, jets, taus or large-radius jets of a number of events."""
    counts = rng.poisson(mean, count)
    n = int(counts.sum())
    pt, eta = 20_000.0 + rng.exponential(25_000.0, n), rng.normal(0.0, 1.3, n).clip(-2.5, 2.5)

    def flag(share: float) -> Array:
        return rng.random(n) < share

    fields: dict[str, Array] = {"pt": pt, "eta": eta, "phi": rng.uniform(-np.pi, np.pi, n), "E": pt * np.cosh(eta)}
    charge = rng.choice([-1, 1], n)
    isolation = {"ptcone30": rng.exponential(900.0, n), "etcone20": rng.normal(500.0, 1200.0, n)}
    own: dict[str, dict[str, Array]] = {
        "lep": {
            "truthMatched": flag(0.9),
            "trigMatched": flag(0.5),
            "z0": rng.normal(0.0, 0.2, n),
            "charge": charge,
            "type": rng.choice([11, 13], n),
            "isTightID": flag(0.8),
            **isolation,
            "trackd0pvunbiased": rng.normal(0.0, 0.02, n),
            "tracksigd0pvunbiased": rng.exponential(1.0, n),
        },
        "jet": {
            "jvt": rng.beta(8.0, 1.0, n),
            "trueflav": rng.choice([0, 4, 5], n, p=[0.9, 0.06, 0.04]),
            "truthMatched": flag(0.9),
            "MV2c10": rng.uniform(-1.0, 1.0, n),
        },
        "tau": {
            "charge": charge,
            "isTightID": flag(0.5),
            "truthMatched": flag(0.5),
            "trigMatched": flag(0.1),
            "nTracks": rng.choice([1, 3], n),
            "BDTid": rng.uniform(0.0, 1.0, n),
        },
        "largeRjet": {
            "m": rng.exponential(40_000.0, n),
            "truthMatched": flag(0.5).astype("f4"),
            "D2": rng.gamma(4.0, 0.5, n),
            "tau32": rng.beta(5.0, 3.0, n),
        },
    }
    return _records(counts, {**fields, **own[kind], "pt_syst": pt * rng.normal(0.0, 0.01, n)})


_SCALE_FACTORS = ("PILEUP", "ELE", "MUON", "PHOTON", "TAU", "BTAG", "LepTRIGGER", "PhotonTRIGGER")


def _weights(rng: np.random.Generator, sample: Sample, count: int) -> dict[str, Array]:
    """Draw the weights of simulated events; in data the release has zeros and ones."""
    if sample.is_data:
        zero, one = np.zeros(count, "f4"), np.ones(count, "f4")
        return {
            "mcWeight": zero,
            **{f"scaleFactor_{n}": zero for n in _SCALE_FACTORS},
            "XSection": one,
            "SumWeights": one,
        }
    factors = {name: np.ones(count, "f4") for name in _SCALE_FACTORS}
    factors["PILEUP"] = rng.normal(1.0, 0.1, count).astype("f4")
    factors["PHOTON"] = rng.normal(1.0, 0.01, count).astype("f4")
    return {
        "mcWeight": rng.normal(1.0, 0.1, count).astype("f4"),
        **{f"scaleFactor_{name}": values for name, values in factors.items()},
        "XSection": np.full(count, sample.cross_section, "f4"),
        # of all files, before any selection; the mean weight is one
        "SumWeights": np.full(count, sample.generated * sample.files, "f4"),
    }


def make_events(sample: Sample, number: int) -> dict[str, Any]:
    """Draw the events of one file.

    Parameters
    ----------
    sample
        The dataset.
    number
        Index of the file, from 0; also seeds the generator, so that the events are the same each time.

    Returns
    -------
    dict
        Name of a branch or group of branches -> array.
    """
    rng = np.random.default_rng([sample.number, number])
    if sample.is_data:
        picobarns = sample.luminosity * 1000 / sample.files
        signal_count, background_count = rng.poisson(_SIGNAL * picobarns), rng.poisson(_BACKGROUND * picobarns)
    else:
        signal_count, background_count = sample.generated, 0
    signal = rng.permutation(np.arange(signal_count + background_count) < signal_count)
    pairs = _photon_pairs(rng, signal)
    kept = (pairs["pt"] > 25.0).all(axis=1) & (np.abs(pairs["eta"]) < 2.37).all(axis=1)
    pairs, signal = {key: values[kept] for key, values in pairs.items()}, signal[kept]
    count = len(signal)
    both_real = signal | (rng.random(count) < _REAL_PHOTONS)
    run = np.full(count, sample.number if sample.is_data else 284500, "i4")
    groups = {kind: _others(rng, kind, mean, count) for kind, mean in _MEAN_OTHERS.items()}
    met = rng.exponential(25_000.0, count).astype("f4")
    return {
        "runNumber": run,
        "eventNumber": (np.arange(count) + 1_000_000 * (number + 1)).astype("i4"),
        "channelNumber": np.full(count, sample.number, "i4"),
        **_weights(rng, sample, count),
        "trigE": rng.random(count) < 0.02,
        "trigM": rng.random(count) < 0.02,
        "trigP": np.ones(count, bool),
        "met_et": met,
        "met_phi": rng.uniform(-np.pi, np.pi, count).astype("f4"),
        "met_et_syst": np.zeros(count, "f4") if sample.is_data else met * np.float32(0.01),
        "ditau_m": np.zeros(count, "f4"),
        "photon": _photons(rng, pairs, np.stack([both_real, both_real], axis=1), is_data=sample.is_data),
        **groups,
    }


def write_file(path: Path, events: Mapping[str, Any]) -> None:
    """Write one ntuple, with baskets small enough that reading a few branches reads only part of the file.

    Parameters
    ----------
    path
        The ROOT file.
    events
        The events from :func:`make_events`.
    """
    types = {
        key: values.type.content if isinstance(values, ak.Array) else values.dtype for key, values in events.items()
    }
    types = {key: ak.types.ArrayType(t, 0) if isinstance(t, ak.types.Type) else t for key, t in types.items()}
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        file.mktree("mini", types, title=TITLE, counter_name=lambda counted: f"{counted}_n")
        for start in range(0, len(events["runNumber"]), _BASKET):
            file["mini"].extend({key: values[start : start + _BASKET] for key, values in events.items()})


def main() -> None:
    """Write every N-th file."""
    parser = argparse.ArgumentParser(description="Write synthetic ntuples.")
    parser.add_argument("folder", type=Path, help="the output folder")
    parser.add_argument("--part", type=int, required=True, help="which part to write, from 0")
    parser.add_argument("--of", type=int, required=True, help="number of parts")
    options = parser.parse_args()
    everything = [(sample, number) for sample in SAMPLES for number in range(sample.files)]
    for sample, number in everything[options.part :: options.of]:
        write_file(options.folder / file_names(sample)[number], make_events(sample, number))


if __name__ == "__main__":
    main()
