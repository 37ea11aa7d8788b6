"""The story of ../README.md, told by kafka-python."""

import os
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition  # noqa: E402
from kafka.admin import NewTopic  # noqa: E402
from kafka.structs import OffsetAndMetadata  # noqa: E402
from witness import BOOTSTRAP, CODECS, N_PARTITIONS, N_RECORDS, NAME, Errands, Witness, check, headers, key, moment, step, text, until  # noqa: E402

POLL_MS = 1000  # A join that begins in a poll should end in it: see Member.
PARTITIONS = [TopicPartition(NAME, p) for p in range(N_PARTITIONS)]


def look(witness, record):
    witness.look(record.partition, record.offset, record.key, record.value, record.headers)


class Member(threading.Thread, ConsumerRebalanceListener):
    """One consumer of the group, on a thread of its own. It looks at records only while its gate is open."""

    def __init__(self, witness, is_open):
        threading.Thread.__init__(self, daemon=True)
        self.witness, self.is_open, self.leaving, self.owns, self.errands = witness, is_open, False, set(), Errands()
        self.consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=NAME, enable_auto_commit=False, auto_offset_reset="earliest")
        # kafka-python 3.0.12 loses an assignment when the poll that began to join ends before the join does. A consumer that
        # joins without having heard of its topic joins a second time 100 ms later, and a poll of 100 ms ends just then.
        check(len(self.consumer.partitions_for_topic(NAME) or ()) == N_PARTITIONS, "the topic's partitions")
        self.start()

    def run(self):
        self.consumer.subscribe([NAME], listener=self)
        while not self.leaving:
            if self.is_open:
                self.consumer.resume(*self.consumer.paused())
            else:
                self.consumer.pause(*self.consumer.assignment())
            for records in self.consumer.poll(timeout_ms=POLL_MS, max_records=5000).values():
                for record in records:
                    look(self.witness, record)
            self.errands.run()
        self.consumer.close()

    def on_partitions_revoked(self, revoked):
        self.owns -= {p.partition for p in revoked}

    def on_partitions_assigned(self, assigned):
        self.owns |= {p.partition for p in assigned}
        if not self.is_open:
            self.consumer.pause(*assigned)

    def leave(self):
        self.leaving = True
        self.join(30)


def create():
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    admin.create_topics([NewTopic(NAME, num_partitions=N_PARTITIONS, replication_factor=1)])
    admin.wait_for_topics([NAME])
    return admin


def produce(codec):
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=None if codec == "none" else codec, linger_ms=5)
    sent = [producer.send(NAME, key=key(n), value=text(codec, n), headers=headers(codec, n)) for n in range(N_RECORDS)]
    producer.flush(60)
    for future in sent:
        future.get(timeout=1)
    producer.close()


def read():
    witness = Witness()
    a, b = Member(witness, False), Member(witness, False)
    until("two partitions each", lambda: len(a.owns) == 2 and len(b.owns) == 2)
    a.is_open = b.is_open = True
    witness.wait(len(CODECS) * N_RECORDS)
    return a, b


def move(a, b):
    b.is_open = False
    a.leave()
    until("all partitions at the survivor", lambda: len(b.owns) == N_PARTITIONS)


def commit(admin, b):
    ends = b.errands.ask(lambda: b.consumer.end_offsets(PARTITIONS))
    middle = {p: OffsetAndMetadata(end // 2, "half", -1) for p, end in ends.items()}
    b.errands.ask(lambda: b.consumer.commit(middle))
    committed = admin.list_group_offsets([NAME])[NAME]
    for p, at in middle.items():
        check((committed[p].offset, committed[p].metadata) == (at.offset, "half"), f"{committed} is committed instead of {middle}")
    return middle, sum(end - end // 2 for end in ends.values())


def resume(b, middle, rest):
    b.leave()
    witness = Witness()
    member = Member(witness, True)
    witness.wait(rest)
    for p, at in middle.items():
        check(witness.first[p.partition] == at.offset, f"{p} resumed at {witness.first[p.partition]} instead of {at.offset}")
    return member


def replay(since):
    witness = Witness()
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False)
    consumer.assign(PARTITIONS)
    for p, at in consumer.offsets_for_times({p: since for p in PARTITIONS}).items():
        consumer.seek(p, at.offset)

    def reached():
        for records in consumer.poll(timeout_ms=100, max_records=5000).values():
            for record in records:
                check(record.timestamp >= since, f"before the moment: {record}")
                look(witness, record)
        return len(witness.seen) >= 2 * N_RECORDS

    until("the replay", reached)
    witness.wait(2 * N_RECORDS)
    consumer.close()


def listed_groups(admin):
    return [group["group_id"] for group in admin.list_groups()]


def describe_group(admin):
    group = admin.describe_groups([NAME])[NAME]
    check(group["group_state"] == "Stable" and len(group["members"]) == 1, group)
    assigned = group["members"][0]["member_assignment"]["assigned_partitions"]
    check(sorted(assigned[0]["partitions"]) == list(range(N_PARTITIONS)), group)


def delete_group(admin, member):
    member.leave()
    admin.delete_groups([NAME])
    check(NAME not in listed_groups(admin), "still listed")


def delete_topic(admin):
    # A consumer that closes may leave a request for metadata behind its last fetch (fetch_max_wait_ms is 500). The broker still
    # comes to it, Apache Kafka's as well, and would make the topic anew if it were deleted by then.
    time.sleep(1)
    admin.delete_topics([NAME])
    until("the topic is gone", lambda: NAME not in admin.list_topics())


def main():
    admin = step("create", create)
    since = None
    for codec in CODECS:
        since = moment() if codec == "lz4" else since
        step(f"produce-{codec}", produce, codec)
    a, b = step("read", read)
    step("move", move, a, b)
    middle, rest = step("commit", commit, admin, b)
    member = step("resume", resume, b, middle, rest)
    step("replay", replay, since)
    step("list-topics", lambda: check(NAME in admin.list_topics(), admin.list_topics()))
    step("list-groups", lambda: check(NAME in listed_groups(admin), listed_groups(admin)))
    step("describe-topic", lambda: check(len(admin.describe_topics([NAME])[0]["partitions"]) == N_PARTITIONS, "partitions"))
    step("describe-group", describe_group, admin)
    step("delete-group", delete_group, admin, member)
    step("delete-topic", delete_topic, admin)


main()
os._exit(0)
