// The story of ../README.md, told by KafkaJS.
const { Kafka, CompressionTypes, AssignerProtocol, logLevel } = require('kafkajs')
const codecs = require('./codecs')

const N_PARTITIONS = 4
// Bounds every wait for the broker; no healthy broker comes near it.
const PATIENCE_MS = 60000
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const COMPRESSION = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD
}
// One Produce request each: KafkaJS makes one batch a partition of what one send() is given.
const SEND = 2000

const { BOOTSTRAP, STORY: NAME } = process.env
const N_RECORDS = Number(process.env.RECORDS)
const kafka = new Kafka({ clientId: 'story-kafkajs', brokers: [BOOTSTRAP], logLevel: logLevel.ERROR })
const admin = kafka.admin()
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const text = (codec, n) => `${codec} ${n} the quick brown fox jumps over the lazy dog`

// Prints the one line per step that run.sh reads; the story ends with the first failure.
async function step (name, run) {
  try {
    await run()
    console.log(`step ${name}: ok`)
  } catch (failure) {
    console.log(`step ${name}: FAIL ${failure}`)
    console.error(failure)
    process.exit(1)
  }
}

function check (holds, otherwise) {
  if (!holds) throw new Error(typeof otherwise === 'string' ? otherwise : JSON.stringify(otherwise))
}

async function until (what, holds) {
  for (const deadline = Date.now() + PATIENCE_MS; !(await holds()); await sleep(20)) check(Date.now() < deadline, `timed out: ${what}`)
}

// Checks what is read: contents whole, order kept in each partition, nothing twice.
class Witness {
  constructor () {
    this.last = {}
    this.first = {}
    this.seen = new Set()
    this.wrong = null
  }

  look (partition, { key, value, headers, offset }) {
    if (this.wrong) return
    const codec = String(headers.codec)
    const n = Number(headers.n)
    const index = CODECS.indexOf(codec) * N_RECORDS + n
    if (String(value) !== text(codec, n) || String(key) !== `user-${n % 500}`) this.wrong = `a strange record: ${key} ${value}`
    if (this.seen.has(index)) this.wrong = `record ${index} came twice`
    if (this.last[partition] >= index) this.wrong = `record ${index} came after ${this.last[partition]}`
    this.seen.add(index)
    this.last[partition] = index
    this.first[partition] ??= Number(offset)
  }

  async await (n) {
    await until(`${n} records, ${this.seen.size} came`, () => this.wrong || this.seen.size >= n)
    check(!this.wrong, this.wrong)
    check(this.seen.size === n, `${this.seen.size} records instead of ${n}`)
  }
}

// One consumer of the group. It looks at records only while its gate is open, and holds them back until then.
class Member {
  constructor (witness, gate) {
    this.owns = 0
    this.gate = gate
    this.witness = witness
    this.consumer = kafka.consumer({ groupId: NAME, maxWaitTimeInMs: 200, heartbeatInterval: 500 })
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => { this.owns = (payload.memberAssignment[NAME] ?? []).length })
  }

  async join () {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [NAME], fromBeginning: true })
    await this.consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch, heartbeat, isRunning, isStale }) => {
        while (!this.gate.open && isRunning()) {
          await sleep(50)
          await heartbeat()
        }
        if (isRunning() && !isStale()) batch.messages.forEach(message => this.witness.look(batch.partition, message))
      }
    })
    return this
  }

  leave () { return this.consumer.disconnect() }
}

async function produce (codec) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let from = 0; from < N_RECORDS; from += SEND) {
    const messages = []
    for (let n = from; n < Math.min(N_RECORDS, from + SEND); n++) {
      messages.push({ key: `user-${n % 500}`, value: text(codec, n), headers: { codec, n: String(n) } })
    }
    await producer.send({ topic: NAME, acks: -1, compression: COMPRESSION[codec], messages })
  }
  await producer.disconnect()
}

// Reads everything since a moment, which is what the last two codecs wrote.
async function replay (from) {
  const witness = new Witness()
  const consumer = kafka.consumer({ groupId: `${NAME}-replay`, maxWaitTimeInMs: 200 })
  await consumer.connect()
  await consumer.subscribe({ topics: [NAME] })
  const starts = await admin.fetchTopicOffsetsByTimestamp(NAME, from)
  const start = Object.fromEntries(starts.map(({ partition, offset }) => [partition, Number(offset)]))
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (Number(message.offset) < start[partition]) return
      if (Number(message.timestamp) < from) witness.wrong = `a record of ${message.timestamp}, before ${from}`
      witness.look(partition, message)
    }
  })
  starts.forEach(({ partition, offset }) => consumer.seek({ topic: NAME, partition, offset }))
  await witness.await(2 * N_RECORDS)
  await consumer.disconnect()
  await admin.deleteGroups([`${NAME}-replay`])
}

async function tell () {
  await codecs.install()
  let a, b, rest, replayFrom
  const middle = {}
  const gate = { open: false }

  await step('create', async () => {
    await admin.connect()
    check(await admin.createTopics({ waitForLeaders: true, topics: [{ topic: NAME, numPartitions: N_PARTITIONS, replicationFactor: 1 }] }), 'not created')
  })
  for (const codec of CODECS) {
    if (codec === 'lz4') {
      await sleep(20)
      replayFrom = Date.now()
    }
    await step(`produce-${codec}`, () => produce(codec))
  }
  await step('read', async () => {
    const witness = new Witness();
    [a, b] = await Promise.all([new Member(witness, gate).join(), new Member(witness, gate).join()])
    await until('two partitions each', () => a.owns === 2 && b.owns === 2)
    gate.open = true
    await witness.await(CODECS.length * N_RECORDS)
  })
  await step('move', async () => {
    b.witness = new Witness() // The survivor only has to own the partitions.
    await a.leave()
    await until('all partitions at the survivor', () => b.owns === N_PARTITIONS)
  })
  await step('commit', async () => {
    rest = 0
    for (const { partition, offset } of await admin.fetchTopicOffsets(NAME)) {
      middle[partition] = Math.floor(Number(offset) / 2)
      rest += Number(offset) - middle[partition]
    }
    await b.consumer.commitOffsets(Object.entries(middle).map(([partition, offset]) => (
      { topic: NAME, partition: Number(partition), offset: String(offset), metadata: 'half' })))
    const [{ partitions }] = await admin.fetchOffsets({ groupId: NAME, topics: [NAME] })
    check(partitions.length === N_PARTITIONS && partitions.every(p => Number(p.offset) === middle[p.partition] && p.metadata === 'half'), partitions)
  })
  await step('resume', async () => {
    await b.leave()
    const witness = new Witness()
    a = await new Member(witness, { open: true }).join()
    await witness.await(rest)
    for (const partition in middle) check(witness.first[partition] === middle[partition], `partition ${partition} resumed at ${witness.first[partition]}`)
  })
  await step('replay', () => replay(replayFrom))
  await step('list-topics', async () => {
    const topics = await admin.listTopics()
    check(topics.includes(NAME), topics)
  })
  await step('list-groups', async () => {
    const { groups } = await admin.listGroups()
    check(groups.some(group => group.groupId === NAME && group.protocolType === 'consumer'), groups)
  })
  await step('describe-topic', async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [NAME] })
    check(topics[0].partitions.length === N_PARTITIONS, topics)
  })
  await step('describe-group', async () => {
    const { groups: [group] } = await admin.describeGroups([NAME])
    check(group.state === 'Stable' && group.members.length === 1, group)
    const { assignment } = AssignerProtocol.MemberAssignment.decode(group.members[0].memberAssignment)
    check(assignment[NAME].length === N_PARTITIONS, assignment)
  })
  await step('delete-group', async () => {
    await a.leave()
    await admin.deleteGroups([NAME])
    const { groups } = await admin.listGroups()
    check(!groups.some(group => group.groupId === NAME), groups)
  })
  await step('delete-topic', async () => {
    await admin.deleteTopics({ topics: [NAME] })
    await until('the topic is gone', async () => !(await admin.listTopics()).includes(NAME))
  })
  await admin.disconnect()
  process.exit(0)
}

tell()
