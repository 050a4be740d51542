from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rucio_lab.demo.ntuples import make_events, write_file
from rucio_lab.demo.samples import SAMPLES

REAL = Path(__file__).parents[3] / "shared" / "data" / "4lep" / "data_D.4lep.root"
LUMINOSITY = 10_000  # 1/pb


def selected_masses(photon: Any) -> tuple[Any, Any]:
    """Apply the public H->yy selection; return the masses in its window in GeV and the mask of selected events."""
    good = ak.all(photon.isTightID & (photon.etcone20 < 4000), axis=1)
    good = good & (photon.pt[:, 0] > 40e3) & (photon.pt[:, 1] > 30e3)
    eta = abs(photon.eta)
    good = good & ~ak.any((eta > 1.37) & (eta < 1.52), axis=1)
    x, y = photon.pt * np.cos(photon.phi), photon.pt * np.sin(photon.phi)
    z = photon.pt * np.sinh(photon.eta)
    momentum = sum(ak.sum(component, axis=1) ** 2 for component in (x, y, z))
    mass = np.sqrt(ak.sum(photon.E, axis=1) ** 2 - momentum) / 1000
    good = good & (mass > 100) & (mass < 160)
    return ak.to_numpy(mass[good]), good


def fitted_peak(masses: Any) -> tuple[float, float]:
    """Fit a peak of known width on a polynomial; return its position in GeV and its number of events."""
    counts, edges = np.histogram(masses, 60, (100, 160))
    centres = (edges[1:] + edges[:-1]) / 2
    background = [((centres - 130) / 30) ** power for power in range(5)]
    best = (np.inf, 0.0, 0.0)
    for position in np.arange(120, 130, 0.05):
        peak = np.exp(-0.5 * ((centres - position) / 1.7) ** 2) / (1.7 * np.sqrt(2 * np.pi))
        design = np.stack([*background, peak], axis=1) / np.sqrt(counts)[:, None]
        solution, residual, *_ = np.linalg.lstsq(design, counts / np.sqrt(counts), rcond=None)
        best = min(best, (float(residual[0]), float(position), float(solution[-1])))
    return best[1:]


@pytest.fixture(scope="module")
def events() -> dict[str, list[dict[str, Any]]]:
    return {sample.name: [make_events(sample, number) for number in range(sample.files)] for sample in SAMPLES}


def test_the_peak_is_at_125_gev_and_agrees_with_simulation(events: dict[str, list[dict[str, Any]]]) -> None:
    data, expected = [], 0.0
    simulated: list[Any] = []
    for sample in SAMPLES:
        for file in events[sample.name]:
            masses, good = selected_masses(file["photon"])
            if sample.is_data:
                data.append(masses)
            else:
                factors = np.prod([file[name] for name in file if name.startswith("scaleFactor_")], axis=0)
                weights = file["mcWeight"] * factors * file["XSection"] * LUMINOSITY / file["SumWeights"]
                expected += float(weights[ak.to_numpy(good)].sum())
                simulated.append(masses)
    position, count = fitted_peak(np.concatenate(data))
    assert position == pytest.approx(125.0, abs=0.5)
    assert count == pytest.approx(expected, rel=0.3)
    assert np.std(np.concatenate(simulated)) == pytest.approx(1.7, abs=0.1)


def test_the_background_falls_with_the_mass(events: dict[str, list[dict[str, Any]]]) -> None:
    masses = np.concatenate([selected_masses(file["photon"])[0] for file in events["data_D"]])
    counts = np.histogram(masses, [100, 110, 120, 130, 140, 150, 160])[0]
    assert counts[0] > counts[1] > counts[3] > counts[4] > counts[5] > counts[0] / 10


def test_events_are_the_same_each_time(events: dict[str, list[dict[str, Any]]]) -> None:
    again = make_events(SAMPLES[0], 0)
    assert ak.array_equal(again["photon"], events["data_A"][0]["photon"])
    first, second = (file["photon"].pt[0, 0] for file in events["data_B"])
    assert first != second


def test_a_file_is_marked_synthetic_and_can_be_read_in_parts(
    tmp_path: Path, events: dict[str, list[dict[str, Any]]]
) -> None:
    write_file(tmp_path / "f.root", events["data_D"][0])
    with uproot.open(tmp_path / "f.root") as file:
        tree = file["mini"]
        assert "SYNTHETIC" in tree.title
        assert tree["photon_pt"].num_baskets > 3
        needed = sum(tree[f"photon_{name}"].compressed_bytes for name in ("pt", "eta", "phi", "isTightID", "etcone20"))
        assert needed < 0.25 * (tmp_path / "f.root").stat().st_size
        assert ak.all(tree["photon_n"].array() == ak.num(tree["photon_pt"].array()))


@pytest.mark.skipif(not REAL.exists(), reason="the real ATLAS Open Data files are not available")
def test_the_schema_matches_the_release(tmp_path: Path, events: dict[str, list[dict[str, Any]]]) -> None:
    write_file(tmp_path / "f.root", events["mc_345319.ZH125J_Zincl_gamgam"][0])
    with uproot.open(tmp_path / "f.root") as mine, uproot.open(REAL) as real:
        ours = {name: str(branch.array(entry_stop=1).type) for name, branch in mine["mini"].items()}
        theirs = {name: str(branch.array(entry_stop=1).type) for name, branch in real["mini"].items()}
    counters = {f"{kind}_n" for kind in ("lep", "jet", "photon", "tau", "largeRjet")}
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == counters  # signed, see rucio_lab.demo.ntuples
