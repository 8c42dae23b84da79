#!/usr/bin/env python3
"""Verifies the chains of zeef's ledger, its audit and its checkpoints, without zeef.
Knows nothing but the format of docs/ledger.md. Reads lines of JSON:
  verify_ledger.py DIR/.zeef/ledger     a directory, with its audit and its checkpoints
  verify_ledger.py blocks.ndjson audit.ndjson --register FILE --checkpoints FILE   of topics, by kcat
  --heads heads.json    of `zeef ledger verify --heads heads.json`: where the chains end and begin
  --key KEY             what verifies checkpoints, of `zeef keys list`, by the package `cryptography`
  --from CHECKPOINT     a checkpoint that was kept outside: all of it has to be there still
  --outputs NAME FILE   all that a read_committed consumer of recipient NAME got, as `kcat -J` says it
--key and --outputs may be repeated. Exit codes: 0 all is whole, 1 it is not or could not be verified.
"""
import argparse, base64, hashlib, json, re, sys, time
from collections import Counter, defaultdict
from pathlib import Path

IS_AUDIT = re.compile(r"zeef\.audit/\d+/-?\d+").fullmatch
MESSAGES = {"release": "v", "correct": "v", "retract": "n"}  # a value, or null

def parse(data):
    """Reads an object; refuses two members of one name, and another format."""
    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("two members have one name")
        return dict(pairs)
    value = json.loads(data, object_pairs_hook=unique)
    if value["format"] != 1:
        raise ValueError("its format is another one")
    return value

def sha(*parts):
    return hashlib.sha256(b"".join(parts))

class Verifier:
    def __init__(self, heads, has_register):
        self.heads, self.problems, self.register, self.has_register = heads, [], set(), has_register
        self.chains = defaultdict(lambda: {"sequence": 0, "hash": "0" * 64, "blocks": 0, "lines": 0})
        self.starts = {name: head["start"] for name, head in heads.items() if "start" in head}
        self.listed, self.last_list, self.years = defaultdict(dict), {}, set()
        self.sent = defaultdict(lambda: defaultdict(str))

    def add_each(self, path, add):
        for number, line in enumerate(path.open("rb"), 1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("it has no end")
                add(line[:-1])
            except Exception as error:  # whatever a changed byte may lead to
                self.problems.append(f"{path} line {number}: {error!r}")

    def add_entry(self, data):
        entry = parse(data)
        key = entry.get("policy") or entry["activity"]
        digest, length = key.rsplit("/", 1)[-1], 64 if "policy" in entry else 12
        if sha(entry["text"].encode()).hexdigest()[:length] != digest:
            raise ValueError(f"{key}: its text has another digest")
        self.register.add(key)

    def add_block(self, data):
        block, digest = parse(data), sha(data).hexdigest()
        name, sequence, is_audit = block["chain"], block["sequence"], "action" in block
        chain, start = self.chains[name], self.starts.get(name, {"sequence": 0})
        # The first one may be any up to the start; what that one follows is known.
        is_within = not chain["blocks"] and 1 < sequence <= start["sequence"]
        allowed = {block["previous"] if is_within else chain["hash"]}
        allowed &= {start["previous"]} if sequence == start["sequence"] else allowed
        checks = {
            "is in a chain of another kind": bool(IS_AUDIT(name)) == is_audit,
            "stands where another belongs": is_within or sequence == chain["sequence"] + 1,
            "does not follow the block before it": block["previous"] in allowed,
            "is another than was listed": self.listed[name].get(sequence, digest) == digest}
        self.problems += [f"{name}: block {sequence} {text}" for text in checks if not checks[text]]
        lines = chain["lines"] + (1 if is_audit else len(block["lines"]))
        chain.update(sequence=sequence, hash=digest, blocks=chain["blocks"] + 1, lines=lines)
        for line in [] if is_audit else block["lines"]:
            if line["operation"] in MESSAGES and "parent" not in line:
                recipient = block["activities"][line["activity"]].split("/")[0]
                self.sent[recipient][line["key"]] += MESSAGES[line["operation"]]
                self.years.add(time.gmtime(block["time"]).tm_year)
        missing = set() if is_audit else {block["policy"], *block["activities"]} - self.register
        if missing and self.has_register:
            raise ValueError(f"the register lacks {', '.join(missing)}")
        if len([other for other in self.chains if IS_AUDIT(other)]) > 1:
            raise ValueError("the audit is not one chain")

    def compare_outputs(self, recipient, path):
        got = defaultdict(str)
        for message in map(json.loads, open(path, "rb")):
            is_null = message.get("payload", message.get("value")) is None
            got[message.get("topic"), message["key"]] += "n" if is_null else "v"
        # Keys are hashed, each year by another key: of one year what came of each is compared.
        came, was = ("".join(one.values()) if len(self.years) > 1 else [*one.values()]
                     for one in (got, self.sent[recipient]))
        if Counter(came) != Counter(was):
            came, was = dict(Counter("".join(came))), dict(Counter("".join(was)))
            self.problems.append(f"{recipient}: {came} came, and the ledger has {was}")

    def compare(self, are_heads_given):
        for name in [*self.heads, *self.last_list, *self.chains]:
            chain, head, listed = self.chains[name], self.heads.get(name), self.last_list.get(name)
            found, start = (chain["sequence"], chain["hash"]), self.starts.get(name, {"sequence": 0})
            is_right = not are_heads_given or listed and found[1] == listed["hash"]
            if head:
                is_gone = start == {"sequence": head["sequence"] + 1, "previous": head["hash"]}
                is_right = found == (head["sequence"], head["hash"]) or is_gone and not found[0]
            if not is_right or listed and start["sequence"] <= listed["sequence"] > found[0]:
                self.problems.append(f"{name}: it ends with block {found[0]}, and should not")

class Checkpoints:
    """The append-only tree (RFC 6962) of lists of heads, and the signed notes of its roots (C2SP)."""
    def __init__(self, verifier):
        self.verifier, self.keys, self.nodes, self.roots = verifier, [], [], []

    def add_key(self, text):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        name, key_hash, key = text.split("+", 2)
        key = base64.b64decode(key, validate=True)
        if key[:1] != b"\1" or sha(name.encode(), b"\n", key).hexdigest()[:8] != key_hash:
            raise ValueError(f"{text} is no key of Ed25519")
        self.keys.append((bytes.fromhex(key_hash), Ed25519PublicKey.from_public_bytes(key[1:])))

    def open(self, note):
        text, signatures = note.split("\n\n")
        origin, size, root = text.split("\n")
        lines = [line.split(" ") for line in signatures.splitlines()]
        signed = {(dash, name): base64.b64decode(signed, validate=True) for dash, name, signed in lines}
        found = [key for key in self.keys if signed.get(("\u2014", origin), b"")[:4] == key[0]]
        if self.keys and not found:
            raise ValueError("no known key signed it")
        for _, key in found:
            key.verify(signed["\u2014", origin][4:], f"{text}\n".encode())
        return int(size), base64.b64decode(root, validate=True)

    def add(self, data):
        message, size, frontier = parse(data), len(self.roots), [node.hex() for node in self.nodes]
        node = sha(b"\0", message["leaf"].encode()).digest()
        while size & 1:
            node, size = sha(b"\1", self.nodes.pop(), node).digest(), size >> 1
        self.nodes.append(node)
        for left in reversed(self.nodes[:-1]):
            node = sha(b"\1", left, node).digest()
        self.roots.append(node)
        heads, before = parse(message["leaf"])["heads"], self.verifier.last_list
        self.verifier.last_list = heads
        for name, head in heads.items():
            self.verifier.listed[name][head["sequence"]] = head["hash"]
            if name not in self.verifier.heads and "start" in head:
                self.verifier.starts[name] = head["start"]
        if any(heads[name]["sequence"] < head["sequence"] for name, head in before.items()):
            raise ValueError("a chain went back")
        exact = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
        is_root = self.open(message["checkpoint"]) == (len(self.roots), node)
        if (exact, message["frontier"], len(message)) != (data, frontier, 4) or not is_root:
            raise ValueError("it does not follow the checkpoint before it")

def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    for name in ("--register", "--heads", "--checkpoints", "--from"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--key", action="append", default=[])
    parser.add_argument("--outputs", action="append", nargs=2, default=[])
    given, files = vars(parser.parse_args()), []
    for path in given["paths"]:
        if path.is_dir():
            files += [*sorted(path.glob("[0-9]*.ndjson")), *path.parent.glob("audit/audit.ndjson")]
            given["register"] = given["register"] or path / "policy.ndjson"
            beside = path.parent / "checkpoints/checkpoints.ndjson"
            given["checkpoints"] = given["checkpoints"] or (beside if beside.exists() else None)
        else:
            files.append(path)
    heads = json.loads(given["heads"].read_bytes()) if given["heads"] else {}
    verifier = Verifier(heads, given["register"])
    checkpoints = Checkpoints(verifier)
    try:
        [checkpoints.add_key(key) for key in given["key"]]
        if given["checkpoints"]:
            verifier.add_each(given["checkpoints"], checkpoints.add)
        if given["from"]:
            size, root = checkpoints.open(given["from"].read_text())
            if checkpoints.roots[size - 1:size] != [root]:
                raise ValueError(f"checkpoint {size} is not there, or is another one")
    except Exception as error:
        verifier.problems.append(f"no key or checkpoint from outside is verified: {error!r}")
    if given["register"]:
        verifier.add_each(given["register"], verifier.add_entry)
    for file in files:
        verifier.add_each(file, verifier.add_block)
    verifier.compare(given["heads"])
    [verifier.compare_outputs(name, path) for name, path in given["outputs"]]
    print("".join(f"broken: {problem}\n" for problem in verifier.problems), end="")
    chains = [chain for chain in verifier.chains.values() if chain["blocks"]]
    print(f"{len(chains)} chains, {sum(chain['blocks'] for chain in chains)} blocks, "
          f"{sum(chain['lines'] for chain in chains)} lines, {len(checkpoints.roots)} checkpoints")
    for name in ["heads", "register", *(["key", "from"] if checkpoints.roots else [])]:
        if not given[name]:
            print(f"without --{name} not all is proved: see docs/ledger.md")
    return 1 if verifier.problems else 0

if __name__ == "__main__":
    sys.exit(main())
