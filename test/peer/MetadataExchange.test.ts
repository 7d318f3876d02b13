import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as MetadataLimit from "../../src/base/MetadataLimit.ts"
import * as MetadataCopy from "../../src/peer/MetadataCopy.ts"
import * as MetadataExchange from "../../src/peer/MetadataExchange.ts"
import * as MetadataMessage from "../../src/wire/extension/MetadataMessage.ts"
import { assertLinear } from "../linear.ts"

const { pieceLength } = MetadataMessage

/** The right bytes of an info dict: no two pieces are alike. */
const infoOf = (size: number) => Uint8Array.from({ length: size }, (_, at) => (at * 31 + (at >>> 14) * 7) % 251)

const data = (info: Uint8Array, piece: number): MetadataMessage.MetadataMessage => ({
  _tag: "Data",
  piece,
  totalSize: info.length,
  bytes: info.subarray(piece * pieceLength, (piece + 1) * pieceLength)
})

const damaged = (bytes: Uint8Array): Uint8Array => bytes.with(bytes.length >>> 1, bytes[bytes.length >>> 1]! ^ 1)

type Request = Extract<MetadataExchange.Action, { _tag: "Request" }>

/** An exchange that the peers named have joined, whose info dict is `info`. */
const joined = (info: Uint8Array, ...peers: ReadonlyArray<number>) => {
  const exchange = MetadataExchange.make()
  for (const peer of peers) MetadataExchange.join(exchange, peer, info.length, 0)
  return exchange
}

const requestsOf = (actions: ReadonlyArray<MetadataExchange.Action>) =>
  actions.filter((action): action is Request => action._tag === "Request")

const others = (actions: ReadonlyArray<MetadataExchange.Action>) =>
  actions
    .filter((action) => action._tag !== "Request")
    .map((action) => (action._tag === "Verify" ? action._tag : action))

/** The pieces that are requested from each peer, as `1:0,2 2:1`. */
const drawn = (actions: ReadonlyArray<MetadataExchange.Action>) => {
  const pieces = new Map<number, Array<number>>()
  for (const { peer, piece } of requestsOf(actions)) pieces.set(peer, [...(pieces.get(peer) ?? []), piece])
  return Array.from(pieces, ([peer, asked]) => `${peer}:${asked}`).join(" ")
}

/**
 * Answers every request with what each peer holds until there is nothing more to do at `now`. Returns the other
 * actions.
 */
const run = (
  exchange: MetadataExchange.MetadataExchange,
  right: Uint8Array,
  holdings: ReadonlyMap<number, Uint8Array>,
  now: number
) => {
  const log: Array<MetadataExchange.Action> = []
  for (let actions = MetadataExchange.step(exchange, now); actions.length > 0; ) {
    assert.isBelow(log.length, 1_000, "it comes to an end")
    log.push(...actions)
    for (const action of actions) {
      if (action._tag === "Verify") {
        MetadataExchange.verified(exchange, action.copy, Bytes.equals(action.copy.bytes, right))
      }
      const holding = action._tag === "Request" ? holdings.get(action.peer) : undefined
      if (action._tag === "Request" && holding !== undefined) {
        MetadataExchange.receive(exchange, action.peer, data(holding, action.piece), now)
      }
    }
    actions = MetadataExchange.step(exchange, now)
  }
  return log
}

const bans = (log: ReadonlyArray<MetadataExchange.Action>) =>
  log.filter((action) => action._tag === "Ban").map(({ peer }) => peer)

const drops = (log: ReadonlyArray<MetadataExchange.Action>) =>
  log.filter((action) => action._tag === "Drop").map(({ peer, why }) => `${peer}: ${why}`)

describe("MetadataExchange", () => {
  it("fetches an info dict of one short piece from one peer", () => {
    const info = infoOf(100)
    const exchange = joined(info, 1)

    const log = run(exchange, info, new Map([[1, info]]), 0)

    assert.strictEqual(drawn(log), "1:0")
    assert.deepStrictEqual(exchange.info, info)
    assert.deepStrictEqual(bans(log), [])
  })

  it("spreads the pieces over the peers, one at a time to each, because rTorrent stops reading at a second one", () => {
    const exchange = joined(infoOf(20 * pieceLength), 1, 2, 3)

    assert.strictEqual(drawn(MetadataExchange.step(exchange, 0)), "1:0 2:1 3:2")
    assert.deepStrictEqual(MetadataExchange.step(exchange, 0), [])
  })

  it("requests the next piece when one has arrived, and a digest once all have", () => {
    const info = infoOf(2 * pieceLength)
    const exchange = joined(info, 1)
    MetadataExchange.step(exchange, 0)

    MetadataExchange.receive(exchange, 1, data(info, 0), 1)
    const next = MetadataExchange.step(exchange, 1)
    MetadataExchange.receive(exchange, 1, data(info, 1), 2)
    const last = MetadataExchange.step(exchange, 2)

    assert.strictEqual(drawn(next), "1:1")
    assert.deepStrictEqual(others(last), ["Verify"])
    assert.deepStrictEqual(MetadataExchange.step(exchange, 3), [])
  })

  it("ignores impossible sizes", () => {
    const exchange = MetadataExchange.make()

    for (const size of [0, -1, 0.5]) MetadataExchange.join(exchange, 1, size, 0)

    assert.deepStrictEqual(MetadataExchange.step(exchange, 0), [])
    assert.strictEqual(exchange.peers.size, 0)
  })

  it.each([undefined, 100])(
    "fault 75: drops a peer whose size exceeds a limit of %s bytes, without a copy",
    (limit) => {
      const exchange = MetadataExchange.make(limit)
      const most = limit ?? MetadataLimit.defaultMaxBytes

      for (const size of [most + 1, 2 ** 30, Number.MAX_SAFE_INTEGER]) MetadataExchange.join(exchange, 1, size, 0)
      const actions = MetadataExchange.step(exchange, 0)
      const { size } = exchange.copies
      MetadataExchange.join(exchange, 2, most, 0)
      MetadataExchange.step(exchange, 0)

      assert.deepStrictEqual(drops(actions), new Array(3).fill(`1: ${MetadataLimit.whyTooLong(most)}`))
      assert.strictEqual(size, 0)
      assert.deepStrictEqual(
        Array.from(exchange.copies, ({ bytes }) => bytes.length),
        [most]
      )
    }
  )

  it("fault 75: holds one copy of a large size, whoever names it, and others of small sizes beside it", () => {
    const large = MetadataExchange.largeSize + 1
    const exchange = MetadataExchange.make()
    exchange.isSole = true
    for (const peer of [1, 2, 3, 4]) MetadataExchange.join(exchange, peer, large + peer, 0)
    for (const peer of [5, 6]) MetadataExchange.join(exchange, peer, pieceLength, 0)

    const actions = MetadataExchange.step(exchange, 0)

    assert.strictEqual(drawn(actions), "1:0,1,2,3 5:0 6:0")
  })

  it("fault 75: forgets a large copy that failed", () => {
    const info = new Uint8Array(MetadataExchange.largeSize + 1)
    const exchange = joined(info, 1, 2)
    MetadataExchange.step(exchange, 0)
    const [copy] = exchange.copies
    copy!.senders.fill(1).fill(2, 5)

    MetadataExchange.verified(exchange, copy!, false)

    assert.isUndefined(exchange.failed)
    assert.isTrue(exchange.isSole)
  })

  it("fault 75: leaves a peer that names a large size and sends little after 20 seconds", () => {
    const info = new Uint8Array(MetadataExchange.largeSize + 1)
    const exchange = joined(info, 1)
    exchange.isSole = true
    MetadataExchange.step(exchange, 0)
    for (const piece of [0, 1]) MetadataExchange.receive(exchange, 1, data(info, piece), 9_000 * (piece + 1))
    MetadataExchange.join(exchange, 2, 100, 18_000)
    MetadataExchange.step(exchange, 20_499)
    const isFilling = () => exchange.peers.get(1)!.copy !== undefined
    const before = isFilling()

    MetadataExchange.step(exchange, 20_500)

    assert.deepStrictEqual([before, isFilling()], [true, false])
  })

  it("fault 75: finds each piece of a large info dict once", () => {
    const bytes = new Uint8Array(pieceLength)
    assertLinear(
      2_000,
      (count) => count * pieceLength,
      (totalSize) => {
        const exchange = MetadataExchange.make(totalSize)
        MetadataExchange.join(exchange, 1, totalSize, 0)
        for (let piece = 0; piece < totalSize / pieceLength; piece++) {
          MetadataExchange.step(exchange, 0)
          MetadataExchange.receive(exchange, 1, { _tag: "Data", piece, totalSize, bytes }, 0)
        }
      }
    )
  })

  it("begins with the size that most peers name", () => {
    const exchange = MetadataExchange.make()
    for (const [peer, size] of [
      [1, 5],
      [2, 7],
      [3, 7]
    ] as const) {
      MetadataExchange.join(exchange, peer, size, 0)
    }

    MetadataExchange.step(exchange, 0)

    assert.deepStrictEqual(
      Array.from(exchange.copies, (copy) => copy.bytes.length),
      [7]
    )
  })

  it("goes on with another size if no peer is left that names the first", () => {
    const exchange = MetadataExchange.make()
    MetadataExchange.join(exchange, 1, 5, 0)
    MetadataExchange.step(exchange, 0)
    MetadataExchange.join(exchange, 2, 7, 1)

    MetadataExchange.leave(exchange, 1)

    assert.strictEqual(drawn(MetadataExchange.step(exchange, 2)), "2:0")
    assert.strictEqual(exchange.copies.size, 1)
  })

  it("keeps the pieces of a peer that left, and requests the others elsewhere", () => {
    const info = infoOf(2 * pieceLength)
    const exchange = joined(info, 1)
    MetadataExchange.step(exchange, 0)
    MetadataExchange.receive(exchange, 1, data(info, 0), 1)

    MetadataExchange.leave(exchange, 1)
    MetadataExchange.join(exchange, 2, info.length, 2)

    assert.strictEqual(drawn(MetadataExchange.step(exchange, 2)), "2:1")
  })

  it("bans the only sender of a wrong copy, and begins again with the others", () => {
    const info = infoOf(100)
    const exchange = joined(info, 1, 2)

    const log = run(
      exchange,
      info,
      new Map([
        [1, damaged(info)],
        [2, info]
      ]),
      0
    )

    assert.deepStrictEqual(bans(log), [1])
    assert.deepStrictEqual(exchange.info, info)
  })

  it("fault 37: requests a copy from each of two senders of a wrong one, and bans the liar", () => {
    const info = infoOf(4 * pieceLength)
    const exchange = joined(info, 1, 2)

    const log = run(
      exchange,
      info,
      new Map([
        [1, damaged(info)],
        [2, info]
      ]),
      0
    )

    // The damage is in piece 2, which peer 1 sent.
    assert.strictEqual(drawn(log), "1:0,2,0,1,2,3 2:1,3,0,1,2,3")
    assert.deepStrictEqual(bans(log), [1])
    assert.deepStrictEqual(exchange.info, info)
  })

  it("fault 37: bans two liars that spoil a copy together, and not the peer that sent right pieces of it", () => {
    const info = infoOf(6 * pieceLength)
    const exchange = joined(info, 1, 2, 3)
    const lies = info.map((byte) => byte ^ 0xff)

    const log = run(
      exchange,
      info,
      new Map([
        [1, lies],
        [2, lies],
        [3, info]
      ]),
      0
    )

    assert.deepStrictEqual([...bans(log)].sort(), [1, 2])
    assert.deepStrictEqual(exchange.info, info)
  })

  it("fault 37: bans a liar that has left once a right copy shows its pieces to be wrong", () => {
    const info = infoOf(2 * pieceLength)
    const exchange = joined(info, 1, 2)
    MetadataExchange.step(exchange, 0)
    MetadataExchange.receive(exchange, 2, data(damaged(info), 1), 0)
    MetadataExchange.leave(exchange, 2)
    MetadataExchange.receive(exchange, 1, data(info, 0), 0)

    const log = run(exchange, info, new Map([[1, info]]), 0)

    assert.deepStrictEqual(bans(log), [2])
    assert.deepStrictEqual(exchange.info, info)
  })

  it("accepts a peer again whose ban has ended, and bans it again for the next wrong copy", () => {
    const info = infoOf(100)
    const exchange = joined(info, 1)
    const first = run(exchange, info, new Map([[1, damaged(info)]]), 0)

    MetadataExchange.join(exchange, 1, info.length, 1)
    const second = run(exchange, info, new Map([[1, damaged(info)]]), 1)
    MetadataExchange.join(exchange, 1, info.length, 2)
    run(exchange, info, new Map([[1, info]]), 2)

    assert.deepStrictEqual([bans(first), bans(second)], [[1], [1]])
    assert.deepStrictEqual(exchange.info, info)
  })

  it("fault 37: lets at most three peers fill copies of their own at the same time", () => {
    const info = infoOf(2 * pieceLength)
    const exchange = joined(info, 1, 2, 3, 4, 5)
    MetadataExchange.step(exchange, 0)
    const [copy] = exchange.copies
    for (const { peer, piece } of [
      { peer: 1, piece: 0 },
      { peer: 2, piece: 1 }
    ]) {
      MetadataExchange.receive(exchange, peer, data(damaged(info), piece), 0)
    }
    MetadataExchange.step(exchange, 0)

    MetadataExchange.verified(exchange, copy!, false)

    assert.strictEqual(drawn(MetadataExchange.step(exchange, 0)), "1:0 2:0 3:0")
    assert.strictEqual(exchange.copies.size, MetadataExchange.maxSoleCopies)
  })

  it.each<readonly [string, MetadataMessage.MetadataMessage, string]>([
    [
      "a piece past the end",
      { _tag: "Data", piece: 99, totalSize: 3 * pieceLength, bytes: new Uint8Array(pieceLength) },
      "it answers a request for metadata that nobody made"
    ],
    [
      "a reject of what was not asked",
      { _tag: "Reject", piece: 99 },
      "it answers a request for metadata that nobody made"
    ],
    [
      "another total size",
      { _tag: "Data", piece: 0, totalSize: 3 * pieceLength + 1, bytes: new Uint8Array(pieceLength) },
      "it names another size of the metadata than before"
    ],
    [
      "a short piece",
      { _tag: "Data", piece: 0, totalSize: 3 * pieceLength, bytes: new Uint8Array(pieceLength - 1) },
      "it sent 16383 bytes of metadata for a piece"
    ]
  ])("fault 36: drops a peer that sends %s, and asks another", (_, message, why) => {
    const exchange = joined(infoOf(3 * pieceLength), 1)
    MetadataExchange.step(exchange, 0)
    MetadataExchange.join(exchange, 2, 3 * pieceLength, 0)

    MetadataExchange.receive(exchange, 1, message, 1)
    const actions = MetadataExchange.step(exchange, 1)

    assert.deepStrictEqual(drops(actions), [`1: ${why}`])
    assert.strictEqual(drawn(actions), "2:0")
  })

  it("fault 36: drops a peer that answers one request twice", () => {
    const info = infoOf(3 * pieceLength)
    const exchange = joined(info, 1)
    MetadataExchange.step(exchange, 0)

    MetadataExchange.receive(exchange, 1, data(info, 0), 1)
    MetadataExchange.receive(exchange, 1, data(info, 0), 1)

    assert.strictEqual(drops(MetadataExchange.step(exchange, 1)).length, 1)
  })

  it("drops a peer that names another size in a later handshake, and keeps one that repeats the same size", () => {
    const exchange = joined(infoOf(100), 1, 2)

    MetadataExchange.join(exchange, 1, 100, 0)
    MetadataExchange.join(exchange, 2, 101, 0)

    assert.deepStrictEqual(drops(MetadataExchange.step(exchange, 0)), [
      "2: it names another size of the metadata than before"
    ])
    assert.deepStrictEqual([...exchange.peers.keys()], [1])
  })

  it("leaves a peer that rejects alone for a while, and requests from another", () => {
    const info = infoOf(100)
    const exchange = joined(info, 1)
    MetadataExchange.step(exchange, 0)

    MetadataExchange.receive(exchange, 1, { _tag: "Reject", piece: 0 }, 1_000)
    MetadataExchange.join(exchange, 2, info.length, 1_000)
    const first = MetadataExchange.step(exchange, 1_000)
    MetadataExchange.receive(exchange, 2, { _tag: "Reject", piece: 0 }, 1_000)

    assert.strictEqual(drawn(first), "2:0")
    assert.strictEqual(drawn(MetadataExchange.step(exchange, 999 + MetadataExchange.firstPause)), "")
    assert.strictEqual(drawn(MetadataExchange.step(exchange, 1_000 + MetadataExchange.firstPause)), "1:0")
  })

  it("fault 36: drops a peer in a loop of rejects", () => {
    const info = infoOf(100)
    const exchange = joined(info, 1)
    let rejects = 0
    let dropped: ReadonlyArray<string> = []

    for (let now = 0; dropped.length === 0; now += 1_000) {
      const actions = MetadataExchange.step(exchange, now)
      for (const { piece } of requestsOf(actions)) {
        rejects++
        MetadataExchange.receive(exchange, 1, { _tag: "Reject", piece }, now)
      }
      dropped = drops(actions)
    }

    assert.strictEqual(rejects, MetadataExchange.maxRejects + 1)
    assert.deepStrictEqual(dropped, ["1: it goes on rejecting requests for metadata"])
  })

  it("requests elsewhere what a silent peer owes after 10 s, and tolerates its late answer", () => {
    const info = infoOf(100)
    const exchange = joined(info, 1)
    MetadataExchange.step(exchange, 0)
    MetadataExchange.join(exchange, 2, info.length, 5_000)

    const before = MetadataExchange.step(exchange, 9_999)
    const after = MetadataExchange.step(exchange, 10_000)
    MetadataExchange.receive(exchange, 1, data(damaged(info), 0), 10_001)
    const late = MetadataExchange.step(exchange, 10_001)

    assert.strictEqual(drawn(before), "")
    assert.strictEqual(drawn(after), "2:0")
    assert.deepStrictEqual(late, [])
  })

  it("waits longer for a peer after each silence", () => {
    const exchange = joined(infoOf(100), 1)
    const askedAt: Array<number> = []

    for (let now = 0; now <= 200_000; now += 1_000) {
      if (requestsOf(MetadataExchange.step(exchange, now)).length > 0) askedAt.push(now)
    }

    // 10 s of silence and 5 s of pause; then the shared copy is abandoned. 20 s and 10 s, 40 s and 20 s.
    assert.deepStrictEqual(askedAt, [0, 15_000, 20_000, 50_000, 110_000])
  })

  it("abandons the shared copy if a peer is too slow, and requests a copy from each peer alone", () => {
    const info = infoOf(100 * pieceLength)
    const exchange = joined(info, 1)
    let piece = 0
    // Two pieces have arrived by then.
    const limit = MetadataCopy.copyTimeout + 1_000

    for (let now = 0; now < limit; now += 1_000) {
      MetadataExchange.step(exchange, now)
      if (now % 9_000 === 0 && now > 0) MetadataExchange.receive(exchange, 1, data(info, piece++), now)
    }
    MetadataExchange.join(exchange, 2, 50, limit)
    MetadataExchange.step(exchange, limit)

    assert.isTrue(exchange.isSole)
    assert.deepStrictEqual(
      Array.from(exchange.copies, ({ sole }) => sole),
      [1, 2]
    )
  })

  it("waits for a peer that sends a piece now and then", () => {
    const info = infoOf(2 * pieceLength)
    const exchange = joined(info, 1)
    MetadataExchange.step(exchange, 0)
    MetadataExchange.join(exchange, 2, info.length, 7_999)

    MetadataExchange.receive(exchange, 1, data(info, 0), 8_000)
    MetadataExchange.step(exchange, 8_000)
    const soon = MetadataExchange.step(exchange, 17_999)
    const late = MetadataExchange.step(exchange, 18_000)

    assert.strictEqual(drawn(soon), "")
    assert.strictEqual(drawn(late), "2:1")
  })

  it("counts only rejects in a row", () => {
    const info = infoOf(2 * pieceLength)
    const exchange = joined(info, 1)
    let rejects = 0

    for (let round = 1; rejects <= 2 * MetadataExchange.maxRejects; round++) {
      const now = round * MetadataExchange.maxPause
      assert.strictEqual(drawn(MetadataExchange.step(exchange, now)), "1:0")
      MetadataExchange.receive(exchange, 1, data(info, 0), now)
      assert.strictEqual(drawn(MetadataExchange.step(exchange, now)), "1:1")
      MetadataExchange.receive(exchange, 1, { _tag: "Reject", piece: 1 }, now)
      rejects++
    }

    assert.strictEqual(exchange.peers.size, 1)
  })

  it("lets peers that fill copies alone take turns", () => {
    const exchange = joined(infoOf(100), 1, 2, 3, 4, 5, 6, 7)
    exchange.isSole = true

    const turns = [0, 10_000, 15_000, 20_000].map((now) => drawn(MetadataExchange.step(exchange, now)))

    // All are silent. Those of the first turn are ready again after 15 s, and come after the seventh.
    assert.deepStrictEqual(turns, ["1:0 2:0 3:0", "4:0 5:0 6:0", "", "1:0 2:0 7:0"])
  })

  it("verifies a complete copy whose only sender has left", () => {
    const info = infoOf(100)
    const exchange = joined(info, 1)
    exchange.isSole = true
    MetadataExchange.step(exchange, 0)
    const [copy] = exchange.copies
    MetadataExchange.receive(exchange, 1, data(damaged(info), 0), 0)
    MetadataExchange.step(exchange, 0)

    MetadataExchange.leave(exchange, 1)
    MetadataExchange.verified(exchange, copy!, false)

    assert.deepStrictEqual(bans(MetadataExchange.step(exchange, 0)), [1])
  })

  it("abandons a copy whose only sender leaves before it is complete", () => {
    const exchange = joined(infoOf(100), 1)
    exchange.isSole = true
    MetadataExchange.step(exchange, 0)

    MetadataExchange.leave(exchange, 1)

    assert.strictEqual(exchange.copies.size, 0)
  })

  it("needs no peer any more once it has the info dict", () => {
    const info = infoOf(100)
    const exchange = joined(info, 1, 2)
    run(exchange, info, new Map([[1, info]]), 0)

    MetadataExchange.receive(exchange, 2, data(info, 0), 1)
    MetadataExchange.join(exchange, 3, info.length, 1)
    MetadataExchange.leave(exchange, 1)

    assert.deepStrictEqual(MetadataExchange.step(exchange, 100_000), [])
    assert.strictEqual(exchange.peers.size + exchange.copies.size, 0)
  })

  it("ignores requests, messages of later versions, and peers that have not joined", () => {
    const exchange = joined(infoOf(100), 1)
    MetadataExchange.step(exchange, 0)

    MetadataExchange.receive(exchange, 1, { _tag: "Request", piece: 0 }, 0)
    MetadataExchange.receive(exchange, 1, { _tag: "Unknown" }, 0)
    MetadataExchange.receive(exchange, 9, { _tag: "Reject", piece: 0 }, 0)

    assert.deepStrictEqual(MetadataExchange.step(exchange, 0), [])
  })
})

type Behaviour = "honest" | "lies" | "lies about the size" | "silent" | "rejects" | "dribbles" | "babbles"

interface ScriptedPeer {
  readonly behaviour: Behaviour
  /** Milliseconds: when it joins, and how long it takes to answer. */
  readonly joinsAt: number
  readonly delay: number
  /** When it leaves, to come back after `awayFor` under the same address. */
  readonly leavesAt: number | undefined
  readonly size: number
}

const awayFor = 5_000

/** An answer that is under way. */
interface Answer {
  readonly at: number
  readonly peer: number
  readonly message: MetadataMessage.MetadataMessage
}

const peer = (behaviour: fc.Arbitrary<Behaviour>): fc.Arbitrary<ScriptedPeer> =>
  fc.record({
    behaviour,
    joinsAt: fc.nat(60_000),
    delay: fc.oneof(fc.nat(500), fc.nat(15_000)),
    leavesAt: fc.option(fc.nat(120_000), { nil: undefined }),
    size: fc.oneof(
      fc.integer({ min: 1, max: 9 * pieceLength }),
      fc.constantFrom(MetadataExchange.largeSize, MetadataExchange.largeSize + 1)
    )
  })

const script = fc.record({
  size: fc.oneof(
    fc.integer({ min: 1, max: 8 * pieceLength }),
    fc.integer({ min: 1, max: 8 }).map((n) => n * pieceLength)
  ),
  // It stays: at least one honest peer can be reached.
  honest: peer(fc.constant("honest")).map((honest) => ({ ...honest, leavesAt: undefined })),
  others: fc.array(
    peer(fc.constantFrom("honest", "lies", "lies about the size", "silent", "rejects", "dribbles", "babbles")),
    { maxLength: 12 }
  )
})

/**
 * Plays a script in steps of 250 ms and checks what must always hold. Returns when it ended and which peers were
 * blamed.
 */
const play = (size: number, peers: ReadonlyArray<ScriptedPeer>) => {
  const info = infoOf(size)
  const exchange = MetadataExchange.make()
  let answers: Array<Answer> = []
  const banned = new Set<number>()
  const dropped = new Set<number>()
  const sizeOf = (key: number) => (peers[key]!.behaviour === "lies about the size" ? peers[key]!.size : size)
  const bytesOf = (key: number, piece: number) => {
    const length = MetadataMessage.pieceSize(sizeOf(key), piece)
    const right = info.subarray(piece * pieceLength, piece * pieceLength + length)
    if (peers[key]!.behaviour === "honest" || peers[key]!.behaviour === "dribbles") return right
    return right.length === length ? damaged(right) : new Uint8Array(length)
  }
  const answer = ({ peer: key, piece }: Request, now: number) => {
    const { behaviour, delay } = peers[key]!
    if (behaviour === "silent") return
    const at = now + (behaviour === "dribbles" ? 9_900 * (1 + exchange.peers.get(key)!.asked.size) : delay)
    const totalSize = sizeOf(key)
    if (behaviour === "rejects") answers.push({ at, peer: key, message: { _tag: "Reject", piece } })
    else if (behaviour === "babbles") answers.push({ at, peer: key, message: { _tag: "Reject", piece: piece + 1_000 } })
    else answers.push({ at, peer: key, message: { _tag: "Data", piece, totalSize, bytes: bytesOf(key, piece) } })
  }
  let now = 0
  for (; exchange.info === undefined && now < 3_600_000; now += 250) {
    for (const [key, { joinsAt, leavesAt }] of peers.entries()) {
      if (banned.has(key) || dropped.has(key)) continue
      const isAway = leavesAt !== undefined && now >= leavesAt && now < leavesAt + awayFor
      if (isAway) {
        MetadataExchange.leave(exchange, key)
        answers = answers.filter((due) => due.peer !== key)
      } else if (now >= joinsAt) MetadataExchange.join(exchange, key, sizeOf(key), now)
    }
    for (const due of answers) {
      if (due.at <= now) MetadataExchange.receive(exchange, due.peer, due.message, now)
    }
    answers = answers.filter((due) => due.at > now)
    // A ban takes effect at once: the peer is gone before it could join again.
    for (let actions = MetadataExchange.step(exchange, now); actions.length > 0; ) {
      for (const action of actions) {
        if (action._tag === "Request") answer(action, now)
        else if (action._tag === "Verify") {
          MetadataExchange.verified(exchange, action.copy, Bytes.equals(action.copy.bytes, info))
        } else (action._tag === "Ban" ? banned : dropped).add(action.peer)
      }
      actions = MetadataExchange.step(exchange, now)
    }
    assert.isAtMost(exchange.copies.size, exchange.isSole ? MetadataExchange.maxSoleCopies : 1)
    const large = Array.from(exchange.copies).filter(({ bytes }) => bytes.length > MetadataExchange.largeSize)
    assert.isAtMost(large.length, 1)
    for (const { asked, copy, size } of exchange.peers.values()) {
      const isLarge = size > MetadataExchange.largeSize
      assert.isAtMost(asked.size, isLarge ? MetadataExchange.maxRequestsOfLarge : MetadataExchange.maxRequests)
      assert.isTrue(asked.size === 0 || (copy !== undefined && exchange.copies.has(copy)))
    }
    for (const copy of exchange.copies) {
      assert.strictEqual(copy.missing, copy.senders.filter((sender) => sender === undefined).length)
      const out = Array.from(exchange.peers.values()).filter((known) => known.copy === copy)
      assert.strictEqual(
        copy.asked.size,
        out.reduce((sum, { asked }) => sum + asked.size, 0)
      )
    }
  }
  for (const action of MetadataExchange.step(exchange, now)) if (action._tag === "Ban") banned.add(action.peer)
  return { info: exchange.info, right: info, now, banned, dropped }
}

describe("MetadataExchange under any script of peers", () => {
  it("fault 37: ends with the right info dict if one honest peer can be reached, and blames no honest peer", () => {
    fc.assert(
      fc.property(script, ({ honest, others, size }) => {
        const peers = [...others, honest]

        const { banned, dropped, info, right } = play(size, peers)

        assert.isDefined(info, "within an hour")
        assert.isTrue(Bytes.equals(info!, right))
        for (const key of banned) assert.include(["lies", "lies about the size"], peers[key]!.behaviour)
        for (const key of dropped) assert.include(["rejects", "babbles"], peers[key]!.behaviour)
      }),
      { numRuns: 300 }
    )
  })

  it("never accepts a wrong info dict if all peers lie, and bans them", () => {
    fc.assert(
      fc.property(fc.array(peer(fc.constantFrom("lies", "silent", "rejects")), { maxLength: 6 }), (peers) => {
        const { banned, info } = play(3 * pieceLength, peers)

        assert.isUndefined(info)
        for (const [key, { behaviour }] of peers.entries()) assert.strictEqual(banned.has(key), behaviour === "lies")
      }),
      { numRuns: 15 }
    )
  })
})
