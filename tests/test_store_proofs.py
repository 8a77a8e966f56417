"""The store's promises at the size of every test run; ``benchmarks/store_proofs.py`` has the large one."""

from __future__ import annotations

import pytest
import storelab


def test_forty_kills_cost_no_wrong_byte_and_none_that_reached_the_disk() -> None:
    found = storelab.kills(40, 8 << 20, seed=1)
    assert found["kills"] >= 40
    assert found["resumed"] >= 20


def test_kills_while_a_graph_is_written() -> None:
    found = storelab.graph_kills(12, 2 << 20, seed=3)
    assert found["kills"] >= 12


def test_a_kill_at_every_call_into_the_system() -> None:
    assert storelab.kills_at_calls(200_000)["kills"] >= 30


def test_an_interrupted_process_ends_soon_and_in_order() -> None:
    assert storelab.interrupts(10, 2 << 20, seed=15)["resumed"] >= 8


@pytest.mark.parametrize("locks", [True, False])
def test_sixteen_processes_on_one_cold_file(locks: bool) -> None:
    found = storelab.crowd(16, 1, 2 << 20, locks=locks)
    assert found["full transfers a round, largest"] == (1 if locks else 16)


def test_sixteen_processes_with_a_short_digest() -> None:
    storelab.crowd(16, 1, 1 << 20, locks=False, digits=12)


@pytest.mark.parametrize("mirrors", [1, 3])
@pytest.mark.parametrize("part", ["none", "good"])
@pytest.mark.parametrize("name", storelab.FAULTS)
def test_every_fault_ends_in_the_file_or_our_error(name: str, part: str, mirrors: int) -> None:
    storelab.matrix(name, part=part, mirrors=mirrors)


@pytest.mark.parametrize("name", ["cut", "no ranges", "weak tag", "flipped bit", "416", "other bytes"])
def test_a_part_of_wrong_bytes_is_never_believed(name: str) -> None:
    storelab.matrix(name, part="bad", mirrors=1)


@pytest.mark.parametrize("name", ["cut", "stall", "weak tag", "chunks", "no ranges"])
def test_a_broken_transfer_is_completed_all_the_same(name: str) -> None:
    assert storelab.matrix(name, part="good", mirrors=1) == "file"


def test_random_scripts_of_faults() -> None:
    found = storelab.scripts(200, seed=11)
    assert min(found["file"], found["IntegrityError"], found["TransferError"]) > 20


def test_flipped_bits_are_found() -> None:
    found = storelab.flips(200, 50_000, seed=12)
    assert min(found["file"], found["file, times kept"], found["record"], found["part"]) > 20
    assert found["found by verify"] > 5


def test_turmoil_ends_in_order() -> None:
    found = storelab.turmoil(5, kills=12, fetches=50, seed=14)
    assert found["kills"] >= 12
    assert found["fetched"] >= 50
    assert found["kept house"] >= 12


def test_hostile_names_lead_nowhere() -> None:
    storelab.hostile(200, seed=13)
