#!/usr/bin/env python3
"""Ottla's binary in place of Kafka's scripts: a tree whose bin/*.sh are links to it, judged by a suite of steps.

    conformance/links.py --ottla BINARY --kafka KAFKA --suite SUITE --bootstrap HOST:PORT --work DIR [--only PATTERN,...]

KAFKA is an Apache Kafka, for the scripts that Ottla does not stand for; SUITE holds run.sh and cli.txt (each step: a command, and the exit status
and output of Apache's tools). A step passes when exit status and standard output are those of Apache's tool; what differs on standard error is
ours to word. Runs against any broker: an Ottla, or an Apache Kafka."""
import argparse, os, re, shutil, subprocess, sys

parser = argparse.ArgumentParser()
for name in ("ottla", "kafka", "suite", "bootstrap", "work"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--only", default="")
parser.add_argument("--ours-only", action="store_true", help="leave out the steps of scripts that Ottla does not stand for: quick, but what later steps find is another")
parser.add_argument("--show", action="store_true", help="print what differs")
args = parser.parse_args()
ottla, kafka, suite, work = map(os.path.abspath, (args.ottla, args.kafka, args.suite, args.work))


def tree():
    """bin/ with links to Ottla, and to Kafka's own scripts for the rest."""
    top = os.path.join(work, "tree")
    shutil.rmtree(top, ignore_errors=True)
    os.makedirs(os.path.join(top, "bin"))
    written = subprocess.run([ottla, "install", "links", os.path.join(top, "bin")], check=True, stdout=subprocess.PIPE, text=True).stdout
    ours = {os.path.basename(line)[:-3] for line in written.split()}
    for name in os.listdir(os.path.join(kafka, "bin")):
        if name[:-3] not in ours:
            os.symlink(os.path.join(kafka, "bin", name), os.path.join(top, "bin", name))
    for name in ("libs", "config"):
        os.symlink(os.path.join(kafka, name), os.path.join(top, name))
    return top, ours


def steps(ours):
    """The steps of which every judged command is one of ours."""
    found, name, tools = [], None, []
    for line in open(os.path.join(suite, "cli.txt")).read().split("\n") + ["### "]:
        if line.startswith("### "):
            if name and tools and all(tool in ours for tool in tools):
                found.append("cli/" + name)
            name, tools = line[4:], []
        elif line.startswith("$ "):
            tools.append(line.split()[1])
    return found


def without_others(chosen):
    """A copy of the suite with these steps only."""
    copy = os.path.join(work, "suite")
    shutil.rmtree(copy, ignore_errors=True)
    os.makedirs(copy)
    for name in ("run.sh", "tools.py"):
        shutil.copy(os.path.join(suite, name), copy)
    text = open(os.path.join(suite, "cli.txt")).read().split("\n### ")
    kept = [part for part in text[1:] if "cli/" + part.split("\n", 1)[0] in chosen]
    with open(os.path.join(copy, "cli.txt"), "w") as file:
        file.write("\n### ".join(text[:1] + kept) + "\n")
    return copy


def differences(name):
    """What differs in status or standard output, from the end of the step's log."""
    path = os.path.join(work, "logs", name.replace("/", "-") + ".log")
    text = open(path, errors="replace").read()
    failed = re.findall(r"^FAIL (.*)$", text, re.M)
    if not failed:
        return []
    if "--- difference" not in text:
        return failed
    lines = text.split("--- difference\n", 1)[1].split("\n")
    return [line for line in lines if re.match(r"[-+][=|] ", line)]


top, ours = tree()
chosen = steps(ours)
if args.only:
    chosen = [name for name in chosen if any(part in name for part in args.only.split(","))]
if not chosen:
    sys.exit("no step of %s is chosen" % suite)
# What an earlier run has left would be judged in the place of a step that does not run.
shutil.rmtree(os.path.join(work, "logs"), ignore_errors=True)
if args.ours_only:
    suite = without_others(chosen)
print("%d steps of %d scripts" % (len(chosen), len(ours)), flush=True)
subprocess.run([os.path.join(suite, "run.sh"), "--bootstrap", args.bootstrap, "--work", work, "--kafka", top, "--only", args.only and ",".join(chosen) or "cli/*"],
               stdout=open(os.path.join(work, "run.log"), "w"))
judged = set(re.findall(r"^(?:PASS|FAIL) (\S+)", open(os.path.join(work, "run.log")).read(), re.M))
bad = 0
for name in chosen:
    differs = differences(name) if name in judged else ["the suite did not run it"]
    bad += bool(differs)
    if differs:
        print("DIFFERS " + name)
        if args.show:
            print("\n".join("    " + line[:300] for line in differs[:12]))
print("%d the same, %d different" % (len(chosen) - bad, bad))
sys.exit(1 if bad else 0)
