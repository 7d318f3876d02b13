/**
 * Feeds damaged datagrams to the KRPC decoder and to nodes of the DHT: `fuzz` runs a number of inputs, which all follow
 * from a seed, and reports the branches that accepted some and the faults that it found. A short run is among the tests.
 *
 * The seeds are datagrams of libtorrent and of ours (test/fixtures/krpc.json). Half of the inputs are damaged as bytes;
 * the other half as values that are encoded again, because lengths would be wrong otherwise and little would be
 * accepted. Some of them get what a node would have to guess: the transaction id and the address of a query that waits,
 * or a token that holds. Time is simulated.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../../src/base/Bytes.ts"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as Bencode from "../../../src/bencode/Bencode.ts"
import * as DhtLimits from "../../../src/discovery/dht/DhtLimits.ts"
import * as DhtMachine from "../../../src/discovery/dht/DhtMachine.ts"
import * as Krpc from "../../../src/discovery/dht/Krpc.ts"
import * as NodeId from "../../../src/discovery/dht/NodeId.ts"
import * as Reachability from "../../../src/discovery/dht/Reachability.ts"
import * as Responder from "../../../src/discovery/dht/Responder.ts"
import * as RoutingTable from "../../../src/discovery/dht/RoutingTable.ts"
import * as Tokens from "../../../src/discovery/dht/Tokens.ts"
import * as TrafficLimits from "../../../src/discovery/dht/TrafficLimits.ts"
import * as Transactions from "../../../src/discovery/dht/Transactions.ts"
import fixture from "../../fixtures/krpc.json" with { type: "json" }

/** The datagrams that are damaged. */
export const seeds: ReadonlyArray<Uint8Array> = [...fixture.libtorrent, ...fixture.piecewise].map(
  (text) => Bytes.fromHex(text)!
)

/** What a run has found. */
export interface Report {
  readonly inputs: number
  /** How many inputs each branch accepted, by its name. Those of `branches` are all there. */
  readonly accepted: ReadonlyMap<string, number>
  /** The processor time of the slowest `batchSize` inputs, with all that followed from them, in milliseconds. */
  readonly slowestMillis: number
  /** By how much the heap was larger than at the start, at most, in bytes. What nobody uses any more is counted too. */
  readonly heapGrowth: number
  /** What should not be, as sentences: what was thrown, exceeded a bound, or accepted nothing. At most a few. */
  readonly faults: ReadonlyArray<string>
}

/** The branches that accept something: of the decoder, and of a node. */
export const branches = [
  "ping",
  "find_node",
  "get_peers",
  "get_peers with noseed",
  "get_peers with scrape",
  "announce_peer",
  "announce_peer with implied_port",
  "announce_peer with seed",
  "unknown method",
  "read-only",
  "want n4",
  "want n6",
  "response",
  "nodes",
  "nodes6",
  "values",
  "token",
  "filters",
  "ip",
  "error",
  "answered",
  "asked for",
  "stored",
  "known",
  "found",
  "scraped",
  "announced"
] as const

/** Inputs after which time, memory and the bounds of the nodes are looked at. */
export const batchSize = 256

/** Most milliseconds of a batch: usual are 50. Most bytes by which the heap grows: usual are 50 MiB. */
const maxBatchMillis = 5_000
const maxHeapGrowth = 400 << 20

/** From this many inputs on, each branch must have accepted some. */
const enoughInputs = 10_000

const maxFaults = 10

/** More than the default, so that inputs reach what is behind the limits of traffic. */
const limits: DhtLimits.DhtLimits = {
  ...DhtLimits.defaults,
  queriesPerSecond: 500,
  answerBytesPerSecond: 1_000_000,
  answerBytesPerSecondPerHost: 100_000,
  datagramsPerSecondPerHost: 1_000,
  storedHashes: 50,
  storedPeers: 200,
  storedPeersPerHash: 20,
  storedPeersPerHost: 40
}

const hosts4 = Array.from({ length: 60 }, (_, index) => `${20 + index}.${(index * 7) & 255}.9.1`)
const hosts6 = Array.from({ length: 60 }, (_, index) => `2001:${(0x400 + index * 3).toString(16)}::1`)
const oddHosts = ["127.0.0.1", "10.0.0.7", "192.168.1.1", "::1", "fe80::1%eth0", "fd00::3"]

const pick = <A>(prng: Prng.Prng, items: ReadonlyArray<A>): A => items[Prng.integer(prng, items.length)]!

const bytesOf = (prng: Prng.Prng, length: number): Uint8Array =>
  Uint8Array.from({ length }, () => Prng.integer(prng, 256))

/** Changes bytes: bits, ranges that are cut, repeated or replaced, digits, and the end of another seed. */
const damageBytes = (prng: Prng.Prng, input: Uint8Array): Uint8Array => {
  let bytes = Uint8Array.from(input)
  for (let count = 1 + Prng.integer(prng, 4); count > 0; count--) {
    const at = Prng.integer(prng, bytes.length + 1)
    const length = Prng.integer(prng, Math.min(40, bytes.length - at) + 1)
    const [before, range, after] = [bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at + length)]
    switch (Prng.integer(prng, 6)) {
      case 0:
        if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << Prng.integer(prng, 8))
        break
      case 1:
        bytes = Bytes.concat([before, after])
        break
      case 2:
        bytes = Bytes.concat([before, range, range, after])
        break
      case 3:
        bytes = Bytes.concat([before, bytesOf(prng, length), after])
        break
      case 4:
        bytes = Bytes.concat([
          before,
          Bytes.fromLatin1Unsafe(pick(prng, ["d", "l", "e", "i9e", "0:", "99999:"])),
          after
        ])
        break
      default: {
        const other = pick(prng, seeds)
        bytes = Bytes.concat([before, other.subarray(Prng.integer(prng, other.length))])
      }
    }
  }
  return bytes
}

const keys = ["a", "e", "id", "implied_port", "info_hash", "ip", "nodes", "nodes6", "noseed", "port", "q", "r", "ro"]
const moreKeys = ["scrape", "seed", "t", "target", "token", "v", "values", "want", "y", "BFsd", "BFpe", "x"]
const words = ["ping", "find_node", "get_peers", "announce_peer", "vote", "q", "r", "e", "n4", "n6", ""]
const lengths = [0, 1, 2, 4, 6, 8, 18, 20, 21, 26, 32, 33, 38, 64, 65, 208, 256, 400]
const numbers = [-1, 0, 1, 2, 80, 203, 65_535, 65_536, Number.MAX_SAFE_INTEGER]

const value = (prng: Prng.Prng, depth = 0): Bencode.Encodable => {
  switch (Prng.integer(prng, depth > 6 ? 3 : 6)) {
    case 0:
      return pick(prng, words)
    case 1:
      return pick(prng, numbers)
    case 2:
      return bytesOf(prng, pick(prng, lengths))
    case 3:
      return Array.from({ length: Prng.integer(prng, 12) }, () => bytesOf(prng, pick(prng, [6, 6, 18, 18, 5])))
    case 4:
      return new Map([[pick(prng, keys), value(prng, depth + 1)]])
    default:
      return [value(prng, depth + 1)]
  }
}

type Dictionary = Map<string, Bencode.Encodable>

const inner = (root: Dictionary): Dictionary => {
  for (const key of ["a", "r"]) {
    const found = root.get(key)
    if (found instanceof Map) return found as Dictionary
  }
  return root
}

/** Changes values of a message, or of its arguments. */
const damageValues = (prng: Prng.Prng, root: Dictionary): void => {
  for (let count = Prng.integer(prng, 3); count > 0; count--) {
    const place = Prng.integer(prng, 4) === 0 ? root : inner(root)
    const key = Prng.integer(prng, 2) === 0 ? pick(prng, [...place.keys(), "x"]) : pick(prng, [...keys, ...moreKeys])
    if (Prng.integer(prng, 5) === 0) place.delete(key)
    else place.set(key, value(prng))
  }
}

/** A copy that can be changed. */
const copyOf = (value: Bencode.Value): Bencode.Encodable => {
  if (Bencode.isDictionary(value)) return new Map([...value].map(([key, item]) => [key, copyOf(item)]))
  return Bencode.isList(value) ? value.map(copyOf) : value
}

const roots: ReadonlyArray<Bencode.Value> = seeds.map((seed) => Result.getOrThrow(Bencode.decode(seed)).value)

/** Runs inputs, one after the other. `progress` hears of their number after each batch. */
export const fuzz = (options: {
  readonly seed: number
  readonly inputs: number
  readonly progress?: (inputs: number) => void
}): Report => {
  const prng = Prng.make(options.seed)
  const accepted = new Map<string, number>(branches.map((branch) => [branch, 0]))
  const faults: Array<string> = []
  const scratch = Buffer.alloc(8_192)
  const target = NodeId.random(prng)
  let now = 0
  let input = 0
  let slowestMillis = 0
  let heapGrowth = 0
  const heapAtStart = process.memoryUsage().heapUsed
  let cpu = process.cpuUsage()

  const accept = (branch: (typeof branches)[number], isIt = true) => {
    if (isIt) accepted.set(branch, accepted.get(branch)! + 1)
  }
  const check = (isRight: boolean, fault: string) => {
    if (!isRight && faults.length < maxFaults) faults.push(`input ${input}: ${fault}`)
  }

  const machines = (["ipv4", "ipv6"] as const).map((family) => {
    const machine = DhtMachine.make({
      family,
      id: NodeId.random(prng),
      limits,
      random: prng,
      entropy: (length) => bytesOf(prng, length),
      now
    })
    DhtMachine.opened(machine, now)
    return machine
  })
  const [four, six] = machines as [DhtMachine.DhtMachine, DhtMachine.DhtMachine]
  four.sibling = six
  six.sibling = four

  const perform = (machine: DhtMachine.DhtMachine, actions: DhtMachine.Actions) => {
    for (const action of actions) {
      if (action._tag === "Send") {
        check(action.payload.length <= Krpc.maxSentBytes, `${action.payload.length} bytes are sent`)
        check(action.to.port > 0, "a datagram is sent to port 0")
        if (input % 16 === 0) check(Result.isSuccess(Krpc.decode(action.payload)), "what is sent cannot be read")
      } else if (action._tag === "Found") accept("found")
      else if (action._tag === "Ended") {
        accept("scraped", action.result.scraped > 0)
        accept("announced", action.result.announced > 0)
      } else perform(machine.sibling!, DhtMachine.named(machine.sibling!, action.nodes, now))
    }
  }

  const count = (message: Krpc.Message) => {
    if (message._tag === "Failure") return accept("error")
    if (message._tag === "Response") {
      const { filters, nodes, peers, seen, token } = message
      accept("response")
      accept(
        "nodes",
        nodes.some(({ address }) => !address.host.includes(":"))
      )
      accept(
        "nodes6",
        nodes.some(({ address }) => address.host.includes(":"))
      )
      accept("values", peers.length > 0)
      accept("token", token !== undefined)
      accept("filters", filters !== undefined)
      return accept("ip", seen !== undefined)
    }
    const { isReadOnly, question } = message
    accept("read-only", isReadOnly)
    if (question === undefined) return accept("unknown method")
    accept(question._tag)
    if (question._tag === "get_peers") {
      accept("get_peers with noseed", question.noSeeds)
      accept("get_peers with scrape", question.scrape)
    }
    if (question._tag === "get_peers" || question._tag === "find_node") {
      accept("want n4", question.want.includes("ipv4"))
      accept("want n6", question.want.includes("ipv6"))
    }
    if (question._tag === "announce_peer") {
      accept("announce_peer with implied_port", question.impliedPort)
      accept("announce_peer with seed", question.isSeed)
    }
  }

  const receive = (machine: DhtMachine.DhtMachine, bytes: Uint8Array, from: PeerAddress) => {
    // As from a socket: a view of a buffer that is used again, at any offset.
    const offset = Prng.integer(prng, 8)
    const length = Math.min(bytes.length, scratch.length - offset)
    scratch.set(bytes.subarray(0, length), offset)
    const payload = scratch.subarray(offset, offset + length)
    const decoded = Krpc.decode(payload)
    if (Result.isSuccess(decoded)) {
      count(decoded.success)
      if (input % 64 === 0) {
        const before = JSON.stringify(decoded.success)
        scratch.fill(0x64, offset, offset + length)
        check(JSON.stringify(decoded.success) === before, "a message changes with the buffer of its datagram")
        scratch.set(bytes.subarray(0, length), offset)
      }
    }
    const { answersReceived, answersSent } = machine.counts
    const stored = machine.peers.peers
    const size = RoutingTable.size(machine.table)
    const actions = DhtMachine.receive(machine, payload, from, now)
    scratch.fill(0x65, offset, offset + length)
    perform(machine, actions)
    accept("answered", machine.counts.answersSent > answersSent)
    accept("asked for", machine.counts.answersReceived > answersReceived)
    accept("stored", machine.peers.peers > stored)
    accept("known", RoutingTable.size(machine.table) > size)
  }

  const checkBounds = (machine: DhtMachine.DhtMachine) => {
    const { family, peers, reachability, strangers, suggested, table, tasks, traffic, transactions } = machine
    const within = (size: number, most: number, what: string) => check(size <= most, `${size} ${what} (${family})`)
    within(transactions.pending.size, Transactions.maxPending, "queries wait")
    within(peers.hashes.size, limits.storedHashes, "hashes")
    within(peers.peers, limits.storedPeers, "peers")
    within(peers.hosts.size, limits.storedPeers, "hosts of peers")
    within(traffic.hosts.size, TrafficLimits.maxHosts, "hosts with a limit")
    within(reachability.sent.size, Reachability.maxHosts, "hosts to which something was sent")
    within(strangers.length, Responder.maxStrangers, "strangers")
    within(suggested.length, DhtMachine.maxSuggested, "suggested nodes")
    within(machine.external.votes.size, 24, "votes")
    within(tasks.size, 40, "tasks")
    within(table.buckets.length, NodeId.bits, "buckets")
    for (const { nodes, waiting } of table.buckets) {
      within(nodes.length, RoutingTable.bucketSize, "nodes in a bucket")
      within(waiting.length, RoutingTable.maxWaiting, "nodes that wait")
    }
    within(table.entries.size, NodeId.bits * (RoutingTable.bucketSize + RoutingTable.maxWaiting), "entries")
    check(DhtMachine.nextAt(machine, now) >= now, "the next tick is in the past")
    DhtMachine.status(machine, now)
  }

  const step = () => {
    const machine = Prng.integer(prng, 4) === 0 ? six : four
    const isSix = machine === six
    let from: PeerAddress = {
      host: pick(prng, isSix ? hosts6 : hosts4),
      port: Prng.integer(prng, 50) === 0 ? 0 : 6881
    }
    if (Prng.integer(prng, 40) === 0) {
      const host = pick(prng, oddHosts)
      if (host.includes(":") === isSix) from = { host, port: 6881 }
    }
    if (Prng.integer(prng, 20) === 0) {
      const host = isSix
        ? `2001:${Prng.between(prng, 1_024, 9_999).toString(16)}::${Prng.integer(prng, 9)}`
        : `${Prng.between(prng, 20, 99)}.${Prng.integer(prng, 256)}.${Prng.integer(prng, 256)}.1`
      from = { host, port: 6881 }
    }
    const which = Prng.integer(prng, seeds.length)
    if (Prng.integer(prng, 2) === 0) return receive(machine, damageBytes(prng, seeds[which]!), from)
    const root = copyOf(roots[which]!) as Dictionary
    const kind = Bytes.toText(root.get("y") as Uint8Array)
    // As of the node that was asked.
    if (kind !== "q" && Prng.integer(prng, 4) > 0) {
      const waiting = [...machine.transactions.pending]
      if (waiting.length > 0) {
        const [id, pending] = pick(prng, waiting)
        root.set("t", Bytes.fromLatin1Unsafe(id))
        from = pending.address
      }
    }
    const values = inner(root)
    if (Prng.integer(prng, 2) === 0) values.set("id", bytesOf(prng, 20))
    if (Prng.integer(prng, 2) === 0)
      for (const key of ["target", "info_hash"]) if (values.has(key)) values.set(key, target)
    const hash = values.get("info_hash")
    if (values.has("token") && hash instanceof Uint8Array && Prng.integer(prng, 4) > 0) {
      values.set("token", Tokens.issue(machine.tokens, from.host, hash, now))
      values.set("port", Prng.between(prng, 1, 65_535))
    }
    damageValues(prng, root)
    receive(machine, Bencode.encode(root), from)
  }

  for (; input < options.inputs && faults.length < maxFaults; input++) {
    try {
      step()
      // Searches, so that there is something to answer; and time, of which little passes as a rule.
      for (const machine of machines) {
        if (input % 50 === 0 && machine.tasks.size < 12) {
          const announce = Prng.integer(prng, 2) === 0 ? { port: 7 } : undefined
          const search = { target, wantsPeers: true, scrape: Prng.integer(prng, 2) === 0, announce }
          perform(machine, DhtMachine.search(machine, search, now).actions)
          const host = pick(prng, machine === six ? hosts6 : hosts4)
          perform(machine, DhtMachine.suggest(machine, { host, port: 6881 }, now))
        }
        if (DhtMachine.nextAt(machine, now) <= now) perform(machine, DhtMachine.tick(machine, now))
      }
    } catch (error) {
      check(false, `${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    }
    if (input % batchSize === 0) {
      for (const machine of machines) checkBounds(machine)
      const { system, user } = process.cpuUsage(cpu)
      cpu = process.cpuUsage()
      slowestMillis = Math.max(slowestMillis, (system + user) / 1_000)
      heapGrowth = Math.max(heapGrowth, process.memoryUsage().heapUsed - heapAtStart)
      options.progress?.(input)
    }
    now += Prng.integer(prng, 20_000) === 0 ? Prng.integer(prng, 3_600_000) : Prng.integer(prng, 20)
  }
  check(slowestMillis <= maxBatchMillis, `${batchSize} inputs took ${slowestMillis} ms`)
  check(heapGrowth <= maxHeapGrowth, `the heap grew by ${heapGrowth} bytes`)
  if (input >= enoughInputs) {
    for (const [branch, count] of accepted) check(count > 0, `${branch} has accepted nothing`)
  }
  return { inputs: input, accepted, slowestMillis, heapGrowth, faults }
}

/** The report as text, without its faults. */
export const describe = ({ accepted, heapGrowth, inputs, slowestMillis }: Report): string =>
  [
    `krpc: ${inputs} inputs of ${seeds.length} seeds; branches that accepted some:`,
    ...[...accepted].map(([branch, count]) => `  ${String(count).padStart(9)}  ${branch}`),
    `  slowest ${batchSize} inputs ${slowestMillis.toFixed(1)} ms; the heap grew by ${(heapGrowth / 2 ** 20).toFixed(1)} MiB`
  ].join("\n")
