"""The story of ../README.md, told by confluent-kafka (librdkafka)."""

import os
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from confluent_kafka import Consumer, ConsumerGroupState, Producer, TopicCollection, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
from witness import BOOTSTRAP, CODECS, N_PARTITIONS, N_RECORDS, NAME, Errands, Witness, check, headers, key, moment, step, text, until  # noqa: E402

CONSUMER = {"bootstrap.servers": BOOTSTRAP, "group.id": NAME, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
MIDDLE_METADATA = "half"


def look(witness, message):
    check(not message.error(), message.error())
    witness.look(message.partition(), message.offset(), message.key(), message.value(), message.headers())


class Member(threading.Thread):
    """One consumer of the group, on a thread of its own. It looks at records only while its gate is open."""

    def __init__(self, witness, is_open):
        super().__init__(daemon=True)
        self.witness, self.is_open, self.leaving, self.owns, self.errands = witness, is_open, False, set(), Errands()
        self.consumer = Consumer(CONSUMER)
        self.start()

    def run(self):
        self.consumer.subscribe([NAME], on_assign=self.gained, on_revoke=self.lost)
        was_open = self.is_open
        while not self.leaving:
            if self.is_open != was_open:
                was_open = self.is_open
                (self.consumer.resume if was_open else self.consumer.pause)(self.consumer.assignment())
            for message in self.consumer.consume(1000, timeout=0.1):
                look(self.witness, message)
            self.errands.run()
        self.consumer.close()

    def gained(self, consumer, partitions):
        consumer.assign(partitions)
        if not self.is_open:
            consumer.pause(partitions)
        self.owns |= {p.partition for p in partitions}

    def lost(self, consumer, partitions):
        self.owns -= {p.partition for p in partitions}

    def leave(self):
        self.leaving = True
        self.join(30)


def create(admin):
    for future in admin.create_topics([NewTopic(NAME, num_partitions=N_PARTITIONS, replication_factor=1)]).values():
        future.result()
    until("the topic is known", lambda: NAME in admin.list_topics(timeout=10).topics)


def produce(codec):
    failed, delivered = [], []
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "compression.type": codec, "enable.idempotence": True})
    for n in range(N_RECORDS):
        producer.produce(NAME, key=key(n), value=text(codec, n), headers=headers(codec, n),
                         on_delivery=lambda error, message: (failed if error else delivered).append(error))
    producer.flush(60)
    check(not failed and len(delivered) == N_RECORDS, f"{len(delivered)} delivered, {failed[:1]}")


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


def commit(b):
    middle, rest = {}, 0
    for p in range(N_PARTITIONS):
        _, end = b.consumer.get_watermark_offsets(TopicPartition(NAME, p), timeout=10)
        middle[p] = end // 2
        rest += end - end // 2
    b.consumer.commit(offsets=[TopicPartition(NAME, p, at, MIDDLE_METADATA) for p, at in middle.items()], asynchronous=False)
    committed = b.consumer.committed([TopicPartition(NAME, p) for p in middle], timeout=10)
    check({p.partition: p.offset for p in committed} == middle, f"{committed} is committed instead of {middle}")
    check(all(p.metadata == MIDDLE_METADATA for p in committed), f"metadata: {committed}")
    return middle, rest


def resume(b, middle, rest):
    b.leave()
    witness = Witness()
    member = Member(witness, True)
    witness.wait(rest)
    check(witness.first == middle, f"resumed at {witness.first} instead of {middle}")
    return member


def replay(since):
    witness = Witness()
    consumer = Consumer({**CONSUMER, "group.id": f"{NAME}-replay"})
    starts = consumer.offsets_for_times([TopicPartition(NAME, p, since) for p in range(N_PARTITIONS)], timeout=10)
    consumer.assign(starts)

    def reached():
        for message in consumer.consume(1000, timeout=0.1):
            check(message.timestamp()[1] >= since, f"before the moment: {message.timestamp()}")
            look(witness, message)
        return len(witness.seen) >= 2 * N_RECORDS

    until("the replay", reached)
    witness.wait(2 * N_RECORDS)
    consumer.close()


def listed_groups(admin):
    return [group.group_id for group in admin.list_consumer_groups().result().valid]


def describe_topic(admin):
    topic = admin.describe_topics(TopicCollection([NAME]))[NAME].result()
    check(len(topic.partitions) == N_PARTITIONS, topic.partitions)


def describe_group(admin):
    group = admin.describe_consumer_groups([NAME])[NAME].result()
    check(group.state == ConsumerGroupState.STABLE and len(group.members) == 1, f"{group.state} {group.members}")
    assigned = group.members[0].assignment.topic_partitions
    check(len(assigned) == N_PARTITIONS, assigned)


def delete_group(admin, member):
    member.leave()
    admin.delete_consumer_groups([NAME])[NAME].result()
    check(NAME not in listed_groups(admin), "still listed")


def delete_topic(admin):
    admin.delete_topics([NAME])[NAME].result()
    until("the topic is gone", lambda: NAME not in admin.list_topics(timeout=10).topics)


def main():
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    step("create", create, admin)
    since = None
    for codec in CODECS:
        since = moment() if codec == "lz4" else since
        step(f"produce-{codec}", produce, codec)
    a, b = step("read", read)
    step("move", move, a, b)
    middle, rest = step("commit", b.errands.ask, lambda: commit(b))
    member = step("resume", resume, b, middle, rest)
    step("replay", replay, since)
    step("list-topics", lambda: check(NAME in admin.list_topics(timeout=10).topics, "not listed"))
    step("list-groups", lambda: check(NAME in listed_groups(admin), listed_groups(admin)))
    step("describe-topic", describe_topic, admin)
    step("describe-group", describe_group, admin)
    step("delete-group", delete_group, admin, member)
    step("delete-topic", delete_topic, admin)


main()
os._exit(0)
