"""Recipes of one folder: captured at some branches, proved at all, kept in a file as they come."""

from __future__ import annotations

import ast
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .trees import Zoo

# Later branches first: their code is nearest to today's MindSpore.
_ORDER = ("r1.9", "r1.10", "r1.8", "r1.7", "r1.6", "r2.0", "master", "r1.5", "r1.4", "r1.3", "r1.2")
_CONFS = ("mindspore_hub_conf.py", "mindpsore_hub_conf.py", "mindspore_hub.py", "hub_conf.py")
_EXPORTS = re.compile(r"export", re.IGNORECASE)
_OTHERS = re.compile(r"eval|test|infer|predict|demo|valid|sampl|generat|detect|inference", re.IGNORECASE)
_SKIPPED = re.compile(r"(^|/)(ascend_?310\w*|infer|modelarts|scripts|golden_stick|docs?|third_party)/", re.IGNORECASE)


class Folder:
    """A folder of the zoo, and the work done on it.

    Args:
        zoo: The zoo.
        path: The folder's path.
        scratch: Where copies go; removed by `close`.
        child: What runs a job in a process of its own: kind, copy, job, limit.
        limit: Seconds per process.
    """

    def __init__(self, zoo: Zoo, path: str, scratch: Path, child: Callable[..., dict[str, Any]], limit: float):
        self.zoo, self.path, self.scratch, self.child, self.limit = zoo, path, scratch, child, limit
        self.recipes: list[dict[str, Any]] = []
        self.captures: list[dict[str, Any]] = []

    def load(self, file: Path) -> None:
        """Take up work that was kept."""
        if file.exists():
            told = json.loads(file.read_text())
            self.recipes, self.captures = told["recipes"], told["captures"]

    def save(self, file: Path) -> None:
        """Keep the work."""
        told = {"path": self.path, "recipes": self.recipes, "captures": self.captures}
        part = file.with_suffix(".part")
        part.write_text(json.dumps(told))
        part.replace(file)

    def close(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    # --- copies

    def copy(self, branch: str) -> Path:
        """The folder at a branch's commit."""
        place = self.scratch / branch
        if not place.exists():
            place.mkdir(parents=True)
            self.zoo.extract(self.zoo.commits[branch], self.path, place)
        return place / self.path

    def files(self, branch: str) -> dict[str, str]:
        """The files at a branch, with their hashes."""
        return self.zoo.files(self.zoo.commits[branch], self.path)

    def order(self, first: Iterable[str] = ()) -> list[str]:
        """The branches that have the folder, those that are asked for first."""
        has = set(self.zoo.branches(self.path))
        wanted = set(first)
        known = [branch for branch in _ORDER if branch in has] + sorted(has - set(_ORDER))
        return [b for b in known if b in wanted] + [b for b in known if b not in wanted]

    # --- capturing

    def jobs(self, branch: str, models: Iterable[str]) -> list[list[dict[str, Any]]]:
        """What may give networks, in groups: if one gives any, the next group is left out."""
        files = self.files(branch)
        scripts = sorted((name for name in files if name.endswith(".py")), key=lambda n: (n.count("/"), n))
        confs = [name for name in _CONFS if name in files]
        groups = []
        conf_jobs = []
        for conf in confs:
            text = self.zoo.read(self.zoo.commits[branch], f"{self.path}/{conf}")
            conf_jobs += [{"conf": conf, "name": name} for name in conf_names(text, models)]
        exports = [{"script": name} for name in scripts if _EXPORTS.search(name.rpartition("/")[2])]
        shallow = [job for job in exports if job["script"].count("/") <= 1 and not _SKIPPED.search(job["script"])]
        groups.append(conf_jobs + shallow[:6])
        others = [
            {"script": name}
            for name in scripts
            if name.count("/") <= 1 and _OTHERS.search(name.rpartition("/")[2]) and not _SKIPPED.search(name)
        ]
        others.sort(key=lambda job: (job["script"].count("/"), "eval" not in job["script"], job["script"]))
        groups += [[job] for job in others[:5] if job not in shallow]
        groups += [[{**job, "resilient": True}] for job in [*shallow[:3], *others[:3]]]
        trains = [{"script": name, "resilient": True} for name in scripts if "/" not in name and "train" in name]
        return groups + [[job] for job in trains[:2]]

    def variants(self, branch: str) -> list[dict[str, Any]]:
        """Export scripts with each configuration file, and with each choice that their parsers offer."""
        files = self.files(branch)
        scripts = [job for group in self.jobs(branch, ()) for job in group if "script" in job and len(job) == 1]
        exports = [job for job in scripts if _EXPORTS.search(job["script"])]
        scripts = exports[:2] or scripts[:1]
        configs = [name for name in files if name.endswith((".yaml", ".yml")) and not _SKIPPED.search(name)]
        found = []
        for job in scripts:
            if 1 <= len(configs) <= 40:
                option = self._option(branch, job["script"])
                found += [{**job, "argv": [option, name]} for name in sorted(configs)[:12] if option]
            text = self.zoo.read(self.zoo.commits[branch], f"{self.path}/{job['script']}")
            found += [{**job, "argv": list(pair)} for pair in choices(text)]
        return found

    def _option(self, branch: str, script: str) -> str:
        texts = [self.zoo.read(self.zoo.commits[branch], f"{self.path}/{script}")]
        texts += [
            self.zoo.read(self.zoo.commits[branch], f"{self.path}/{name}")
            for name in self.files(branch)
            if name.endswith(".py") and "config" in name
        ]
        for text in texts:
            match = re.search(r"""["'](--(?:config_path|config_file|config|cfg|yaml_path|yaml))["']""", text)
            if match:
                return match[1]
        return ""

    def capture(self, branch: str, models: Iterable[str]) -> int:
        """Run what a branch has, and prove what comes of it there; how many recipes are new."""
        new = 0
        for group in self.jobs(branch, models):
            for job in group:
                new += self.capture_job(branch, job)
            if any(branch in recipe["proofs"] for recipe in self.recipes):
                break
        return new

    def capture_job(self, branch: str, job: dict[str, Any]) -> int:
        """Run one script or conf file at a branch; how many recipes are new."""
        limit = self.limit / 2 if job.get("resilient") else self.limit  # some wait for data that never comes
        told = self.child("capture", self.copy(branch), job, limit)
        networks = told.pop("networks", [])
        self.captures.append({"branch": branch, "job": job, **told, "networks": [n.get("class") for n in networks]})
        return sum(self._take(branch, job, network) for network in networks if network["parameters"])

    def _take(self, branch: str, job: dict[str, Any], network: dict[str, Any]) -> int:
        source = {key: job[key] for key in ("conf", "script", "name", "argv") if job.get(key)}
        known = [
            recipe
            for recipe in self.recipes
            if network["digest"] in (recipe["digest"], recipe.get("handed"))
            and _proved(recipe, branch)
            and ("call" not in network or skeleton(network["call"]) in map(skeleton, recipe["known"]))
        ]
        if known:  # another way to the same parameters
            if network.get("inputs") and not known[0]["inputs"]:
                known[0]["inputs"] = network["inputs"]
            known[0]["sources"].append({"branch": branch, **source})
            return 0
        calls = [network["call"]] if "call" in network else []
        wrapped: tuple[dict[str, Any], dict[str, Any]] | None = None
        for attempt in range(2):
            if job.get("argv"):  # needed where modules look at the command line when they are imported
                calls = [*calls, *[{**call, "argv": job["argv"]} for call in calls]]
            within = job.get("script", "").rpartition("/")[0]
            if within:  # scripts find what is beside them
                calls = [*calls, *[{**call, "folders": [within]} for call in calls]]
            for call in calls:
                proof = self.replay(branch, call)
                if proof.get("digest") == network["digest"]:
                    return self._keep(network, call, proof, {"branch": branch, **source})
                if proof.get("shapes") == network["shapes"]:
                    wrapped = wrapped or (call, proof)
                self.captures.append(
                    {
                        "branch": branch,
                        "job": job,
                        "refused": call,
                        "proof": proof,
                        "network": {k: network[k] for k in ("class", "parameters", "digest")},
                    }
                )
            if attempt == 0:
                again = self.child("capture", self.copy(branch), {**job, "functions": True}, self.limit)
                same = [n for n in again.get("networks", []) if n["digest"] == network["digest"]]
                calls = [call for one in same for call in one["functions"]][:4]
        if wrapped:  # before the script handed it over, so that names got prefixes
            return self._keep(network, *wrapped, {"branch": branch, **source})
        if "unwritable" in network:
            self.captures.append({"branch": branch, "job": job, "unwritable": network["unwritable"]})
        return 0

    def _keep(
        self, network: dict[str, Any], call: dict[str, Any], proof: dict[str, Any], source: dict[str, Any]
    ) -> int:
        recipe = {key: network[key] for key in ("parameters", "elements", "inputs", "class", "how")}
        recipe |= {"digest": proof["digest"], "handed": network["digest"], "call": call, "sources": [source]}
        recipe["proofs"] = {source["branch"]: proof}
        recipe["known"] = [call, *([network["call"]] if "call" in network else [])]
        self.recipes.append(recipe)
        return 1

    def take_line(self, branch: str, line: dict[str, Any]) -> int:
        """A recipe that somebody wrote down, a job, or what goes into a class that is known; whether it is new."""
        if "class" in line:
            for recipe in self.recipes:
                if recipe["class"] == line["class"] and recipe["inputs"] != line["inputs"]:
                    recipe["inputs"] = line["inputs"]
                    if not recipe.get("final", {}).get("runs"):
                        recipe.pop("final", None)
            return 0
        if "job" in line:
            if any(done["branch"] == branch and done["job"] == line["job"] for done in self.captures):
                return 0
            return self.capture_job(branch, line["job"])
        told = {"args": [], "kwargs": {}} | line["call"]
        if any(skeleton(told) == skeleton(recipe["call"]) for recipe in self.recipes):
            return 0
        proof = self.replay(branch, told)
        if "digest" not in proof:
            self.captures.append({"branch": branch, "job": {"line": told["callable"]}, **proof, "networks": []})
            return 0
        recipe = {key: proof[key] for key in ("digest", "parameters", "elements")}
        recipe |= {
            "call": told,
            "known": [told],
            "inputs": line.get("inputs"),
            "how": "line",
            "class": told["callable"],
        }
        source = {"branch": branch, "line": True, "models": line.get("models", [])}
        if "note" in line:  # where its numbers come from, if the code does not have them
            source["note"] = line["note"]
        self.recipes.append({**recipe, "sources": [source], "proofs": {branch: proof}})
        return 1

    # --- proving

    def replay(self, branch: str, call: dict[str, Any]) -> dict[str, Any]:
        """Build a recipe at a branch, with all leniency; with the files that building reads."""
        started = time.monotonic()
        told = self.child("replay", self.copy(branch), {"call": call}, self.limit)
        files = self.files(branch)
        told["blobs"] = {name: files[name] for name in told.pop("reads", []) if name in files}
        told["seconds"] = round(time.monotonic() - started, 1)
        return told

    def prove(self, recipe: dict[str, Any], branch: str, build: bool = True) -> bool:
        """Build a recipe at another branch, unless all that building reads is the same as where it was built.

        Args:
            recipe: The recipe.
            branch: The branch.
            build: Whether to build it at all if something differs.
        """
        proofs = recipe["proofs"]
        if branch not in proofs:
            files = self.files(branch)
            for other, proof in list(proofs.items()):
                blobs = proof.get("blobs")
                if "same" not in proof and blobs and all(files.get(name) == blob for name, blob in blobs.items()):
                    proofs[branch] = {"same": other}
                    break
            else:
                if build:
                    proofs[branch] = self.replay(branch, recipe["call"])
        return _proved(recipe, branch)


def _proved(recipe: dict[str, Any], branch: str) -> bool:
    """Whether a recipe gives its parameters at a branch."""
    proof = recipe["proofs"].get(branch, {})
    proof = recipe["proofs"].get(proof.get("same", ""), proof)
    return proof.get("digest") == recipe["digest"]


proved = _proved


_CHOSEN = re.compile(r"net|model|arch|backbone|type|version|variant|name|dataset|task|phase|mode|size|scale|depth")


def choices(text: str) -> list[tuple[str, str]]:
    """Options of a script's parser that choose a variant, with each value."""
    found = []
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "add_argument":
            continue
        option = next((a.value for a in node.args if isinstance(a, ast.Constant) and str(a.value)[:2] == "--"), "")
        given = next((k.value for k in node.keywords if k.arg == "choices"), None)
        if _CHOSEN.search(str(option)) and "format" not in str(option) and isinstance(given, (ast.List, ast.Tuple)):
            values = [str(item.value) for item in given.elts if isinstance(item, ast.Constant)]
            found += [(str(option), value) for value in values[:8]]
    return found[:24]


def skeleton(value: Any) -> Any:
    """A call without what configurations hold: two scripts' differ in much that networks never ask for."""
    if isinstance(value, list):
        return [skeleton(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "object" in value:
        return {"object": value.get("of")}
    if value.get("callable") == "easydict:EasyDict":
        return {"object": "easydict"}
    return {key: skeleton(item) for key, item in value.items() if key != "argv"}


def conf_names(text: str, models: Iterable[str]) -> list[str]:
    """The names that a conf file knows, by its text; the cards' own where it asks for none."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        for part in parts:
            inner = part.elts if isinstance(part, (ast.Tuple, ast.List, ast.Set)) else [part]
            names += [c.value for c in inner if isinstance(c, ast.Constant) and isinstance(c.value, str)]
    names = [name for name in dict.fromkeys(names) if re.fullmatch(r"[\w.+-]+", name)]
    return [*names, *[model for model in dict.fromkeys(models) if model not in names]][:16]
