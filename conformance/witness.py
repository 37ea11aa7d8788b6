"""What both Python stories share: the lines that run.sh reads, and the check of what was read."""

import os
import threading
import time

N_PARTITIONS = 4
PATIENCE_S = 60  # Bounds every wait for the broker; no healthy broker comes near it.
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BOOTSTRAP = os.environ["BOOTSTRAP"]
NAME = os.environ["STORY"]
N_RECORDS = int(os.environ["RECORDS"])


def step(name, run, *arguments):
    """Prints the one line per step that run.sh reads; the story ends with the first failure."""
    try:
        result = run(*arguments)
    except Exception as failure:
        print(f"step {name}: FAIL {type(failure).__name__}: {failure}".replace("\n", " "), flush=True)
        os._exit(1)
    print(f"step {name}: ok", flush=True)
    return result


def check(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


def until(what, holds):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        check(time.monotonic() < deadline, f"timed out: {what}")
        time.sleep(0.02)


def key(n):
    return f"user-{n % 500}".encode()


def text(codec, n):
    return f"{codec} {n} the quick brown fox jumps over the lazy dog".encode()


def headers(codec, n):
    return [("codec", codec.encode()), ("n", str(n).encode())]


class Witness:
    """Checks what is read: contents whole, order kept in each partition, nothing twice."""

    def __init__(self):
        self.lock = threading.Lock()
        self.last, self.first, self.seen, self.wrong = {}, {}, set(), None

    def look(self, partition, offset, record_key, value, record_headers):
        with self.lock:
            named = dict(record_headers)
            codec, n = named["codec"].decode(), int(named["n"])
            index = CODECS.index(codec) * N_RECORDS + n
            if value != text(codec, n) or record_key != key(n):
                self.wrong = self.wrong or f"a strange record: {record_key} {value}"
            if index in self.seen:
                self.wrong = self.wrong or f"record {index} came twice"
            if self.last.get(partition, -1) >= index:
                self.wrong = self.wrong or f"record {index} came after {self.last[partition]}"
            self.seen.add(index)
            self.last[partition] = index
            self.first.setdefault(partition, offset)

    def wait(self, n):
        until(f"{n} records", lambda: self.wrong or len(self.seen) >= n)
        check(not self.wrong, self.wrong)
        check(len(self.seen) == n, f"{len(self.seen)} records instead of {n}")


class Errands:
    """Things to be done on another thread: a consumer belongs to one."""

    def __init__(self):
        self.waiting = []

    def ask(self, run):
        answers = []

        def answered():
            try:
                answers.append((run(), None))
            except Exception as failure:
                answers.append((None, failure))

        self.waiting.append(answered)
        until("the member's answer", lambda: answers)
        result, failure = answers[0]
        if failure:
            raise failure
        return result

    def run(self):
        while self.waiting:
            self.waiting.pop(0)()


def moment():
    """A moment in ms with a gap on both sides of it."""
    time.sleep(0.02)
    return int(time.time() * 1000)
