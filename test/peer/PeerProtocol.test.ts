import { assert, describe } from "@effect/vitest"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PeerPatience from "../../src/peer/PeerPatience.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as UploadQueue from "../../src/peer/UploadQueue.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import { encodeAll, type WireMessage } from "../../src/testing/WireMessage.ts"
import {
  asked,
  block,
  connect,
  failureOf,
  heard,
  makeAssembly,
  offersNothing,
  piece,
  refill,
  requestsCounted,
  say,
  tags,
  test,
  unchoked
} from "./protocols.ts"

const fullBits = Bitfield.full(4).bytes
const bitfield = (bits: Uint8Array): WireMessage => ({ _tag: "Bitfield", bits })
const request = (index: number, begin: number, length: number): WireMessage => ({
  _tag: "Request",
  index,
  begin,
  length
})

/** Takes a piece from missing to stored, as verifier and writer do. */
const storePiece = (table: PieceTable.PieceTable, index: number): void => PieceTable.restore(table, index as PieceIndex)

describe("PeerProtocol", () => {
  describe("begins", () => {
    test("with the stored pieces, in the shortest form that the peer understands", function* () {
      const none = yield* makeAssembly()
      const some = yield* makeAssembly({ stored: [1] })
      const all = yield* makeAssembly({ stored: [0, 1, 2, 3] })

      const said = [none, some, all].flatMap((assembly) => [
        tags(heard(connect(assembly, 0))),
        tags(heard(connect(assembly, 1, { isFast: false })))
      ])

      assert.deepStrictEqual(said, [["HaveNone"], [], ["Bitfield"], ["Bitfield"], ["HaveAll"], ["Bitfield"]])
    })
  })

  describe("ends with a peer that breaks the rules", () => {
    const cases: ReadonlyArray<{
      readonly name: string
      readonly says: ReadonlyArray<WireMessage>
      readonly why: RegExp
      readonly isFast?: boolean
    }> = [
      { name: "fault 27: a bitfield that is too long", says: [bitfield(new Uint8Array(2))], why: /does not fit/ },
      { name: "fault 27: a bitfield that is too short", says: [bitfield(new Uint8Array(0))], why: /does not fit/ },
      { name: "fault 27: a spare bit that is set", says: [bitfield(Uint8Array.of(0xf8))], why: /does not fit/ },
      {
        name: "fault 27: a later bitfield that takes a piece back",
        says: [{ _tag: "Have", index: 0 }, bitfield(Uint8Array.of(0x60))],
        why: /takes back/
      },
      {
        name: "fault 30: a bitfield after have all that takes a piece back",
        says: [{ _tag: "HaveAll" }, bitfield(Uint8Array.of(0x70))],
        why: /takes back/
      },
      {
        name: "fault 30: have none after a bitfield",
        says: [bitfield(fullBits), { _tag: "HaveNone" }],
        why: /had reported/
      },
      { name: "fault 28: a have of a piece that does not exist", says: [{ _tag: "Have", index: 4 }], why: /piece 4/ },
      {
        name: "fault 28: a have of the largest number there is",
        says: [{ _tag: "Have", index: 0xffff_ffff }],
        why: /piece 4294967295/
      },
      { name: "fault 28: a request of no piece", says: [request(4, 0, block)], why: /piece 4/ },
      { name: "fault 28: a request of no bytes", says: [request(0, 0, 0)], why: /0 bytes/ },
      { name: "fault 28: a request of more than 128 KiB", says: [request(0, 0, 131_073)], why: /131073 bytes/ },
      { name: "fault 28: a request past the end of its piece", says: [request(0, 3 * block + 1, block)], why: /16384/ },
      {
        name: "fault 28: a request whose end is past 2^32",
        says: [request(0, 0xffff_ffff, 0x10_000)],
        why: /at 4294967295/
      },
      {
        name: "fault 28: a reject past the end of the short piece",
        says: [{ _tag: "Reject", index: 3, begin: 3 * block, length: block }],
        why: /a reject/
      },
      {
        name: "fault 28: a cancel of no piece",
        says: [{ _tag: "Cancel", index: 9, begin: 0, length: 1 }],
        why: /a cancel/
      },
      { name: "fault 30: have all", says: [{ _tag: "HaveAll" }], why: /fast extension/, isFast: false },
      { name: "fault 30: have none", says: [{ _tag: "HaveNone" }], why: /fast extension/, isFast: false },
      { name: "fault 30: a suggestion", says: [{ _tag: "Suggest", index: 0 }], why: /fast extension/, isFast: false },
      { name: "fault 30: allowed fast", says: [{ _tag: "AllowedFast", index: 0 }], why: /fast ext/, isFast: false },
      {
        name: "fault 30: a reject",
        says: [{ _tag: "Reject", index: 0, begin: 0, length: block }],
        why: /fast extension/,
        isFast: false
      }
    ]
    for (const { isFast, name, says, why } of cases) {
      test(isFast === false ? `${name} without BEP 6` : name, function* () {
        const protocol = connect(yield* makeAssembly(), 0, { isFast })

        const failure = failureOf(() => say(protocol, says))

        assert.strictEqual(failure?._tag, "piecewise/WireError")
        assert.match(failure?.why ?? "", why)
      })
    }
  })

  describe("says whether it is interested", () => {
    test("when the peer has what is not stored, and not before", function* () {
      const assembly = yield* makeAssembly({ stored: [0] })
      const protocol = connect(assembly, 0)
      heard(protocol)

      say(protocol, [{ _tag: "Have", index: 0 }])
      const before = tags(heard(protocol))
      say(protocol, [
        { _tag: "Have", index: 2 },
        { _tag: "Have", index: 3 }
      ])

      assert.deepStrictEqual([before, tags(heard(protocol))], [[], ["Interested"]])
    })

    test("and takes it back from a choking peer as soon as its last new piece is stored", function* () {
      const assembly = yield* makeAssembly()
      const protocol = connect(assembly, 0)
      say(protocol, [{ _tag: "Have", index: 2 }])
      heard(protocol)

      storePiece(assembly.table, 2)
      PeerProtocol.announce(protocol, 2 as PieceIndex)

      assert.deepStrictEqual([tags(heard(protocol)), protocol.woken.times], [["Have", "NotInterested"], 2])
    })

    test("and stays interested while the peer has more", function* () {
      const assembly = yield* makeAssembly()
      const protocol = connect(assembly, 0)
      say(protocol, [
        { _tag: "Have", index: 2 },
        { _tag: "Have", index: 3 }
      ])
      heard(protocol)

      storePiece(assembly.table, 2)
      PeerProtocol.announce(protocol, 2 as PieceIndex)

      assert.deepStrictEqual([tags(heard(protocol)), protocol.woken.times], [["Have"], 1])
    })
  })

  describe("announces stored pieces", () => {
    test("to every peer that lacks some piece, because a super-seed wants to know what has arrived", function* () {
      const protocol = connect(yield* makeAssembly(), 0)
      say(protocol, [{ _tag: "Have", index: 1 }])
      heard(protocol)

      PeerProtocol.announce(protocol, 1 as PieceIndex)
      PeerProtocol.announce(protocol, 2 as PieceIndex)

      assert.deepStrictEqual(heard(protocol), [
        { _tag: "Have", index: 1 },
        { _tag: "Have", index: 2 }
      ])
    })

    test("but not to a seed", function* () {
      const protocol = connect(yield* makeAssembly(), 0)
      say(protocol, [bitfield(fullBits)])
      heard(protocol)

      PeerProtocol.announce(protocol, 1 as PieceIndex)

      assert.deepStrictEqual(tags(heard(protocol)), [])
    })
  })

  test("accepts a later bitfield with several new pieces, as aria2 sends it", function* () {
    const assembly = yield* makeAssembly({ stored: [2] })
    const protocol = connect(assembly, 0)
    say(protocol, [{ _tag: "HaveNone" }, { _tag: "Have", index: 2 }])
    heard(protocol)

    say(protocol, [bitfield(Uint8Array.of(0xa0)), bitfield(fullBits)])

    assert.deepStrictEqual(tags(heard(protocol)), ["Interested"])
    assert.isTrue(Bitfield.isFull(protocol.has))
    assert.deepStrictEqual([...assembly.picker.availability], [1, 1, 1, 1])
  })

  test("accepts a repeated bitfield, and a have all in the end, as aria2 sends them", function* () {
    const assembly = yield* makeAssembly({ stored: [2] })
    const protocol = connect(assembly, 0)

    const some = bitfield(Uint8Array.of(0x20))
    say(protocol, [some, some, { _tag: "HaveAll" }, { _tag: "HaveAll" }, bitfield(fullBits)])

    assert.include(tags(heard(protocol)), "Interested")
    assert.isTrue(Bitfield.isFull(protocol.has))
    // Who reports every piece at once is counted apart.
    assert.isTrue(protocol.isSeed)
    assert.deepStrictEqual([...assembly.picker.availability], [0, 0, 0, 0])
  })

  test("reports everything to a super-seed at once, and not piece by piece", function* () {
    const assembly = yield* makeAssembly({ stored: [0, 1, 2, 3] })
    const gained: Array<string> = []
    const offer = {
      ...offersNothing,
      gained: (piece: number) => gained.push(String(piece)),
      gainedEverything: () => gained.push("everything")
    }

    say(connect(assembly, 0, { offer }), [{ _tag: "HaveAll" }, { _tag: "HaveAll" }])
    say(connect(assembly, 1, { offer }), [bitfield(fullBits)])
    say(connect(assembly, 2, { offer }), [{ _tag: "Have", index: 2 }, { _tag: "HaveAll" }])

    assert.deepStrictEqual(gained, ["everything", "everything", "2", "everything"])
  })

  describe("answers requests while it chokes", () => {
    test("fault 31: with a reject each under BEP 6, and with nothing otherwise", function* () {
      const assembly = yield* makeAssembly({ stored: [0] })
      const fast = connect(assembly, 0)
      const plain = connect(assembly, 1, { isFast: false })
      heard(fast)
      heard(plain)

      say(fast, [request(0, 0, block), request(0, 7, 9)])
      say(plain, [request(0, 0, block)])

      assert.deepStrictEqual(heard(fast), [
        { _tag: "Reject", index: 0, begin: 0, length: block },
        { _tag: "Reject", index: 0, begin: 7, length: 9 }
      ])
      assert.deepStrictEqual(heard(plain), [])
    })

    test("fault 31: but not without end, and what waits to be sent stays small", function* () {
      const protocol = connect(yield* makeAssembly({ stored: [0] }), 0)
      heard(protocol)
      const borne = 2 * UploadQueue.defaultMaxRequests
      const flood = Array.from({ length: borne }, () => request(0, 0, block))

      const failures = [flood, [request(0, 0, block)]].map((messages) => failureOf(() => say(protocol, messages)))

      assert.deepStrictEqual(
        failures.map((failure) => failure?._tag),
        [undefined, "piecewise/WireError"]
      )
      assert.isAtMost(protocol.outbox.length, borne * 17 + 17)
    })
  })

  describe("watches the time", () => {
    test("and sends a keep-alive when it has been quiet for 100 seconds", function* () {
      const protocol = connect(yield* makeAssembly(), 0)
      heard(protocol)

      PeerProtocol.tick(protocol, 99_999)
      const early = tags(heard(protocol))
      PeerProtocol.tick(protocol, 100_000)
      PeerProtocol.tick(protocol, 101_000)

      assert.deepStrictEqual([early, tags(heard(protocol)), protocol.woken.times], [[], ["KeepAlive"], 1])
    })

    test("and drops a peer that was silent for three minutes", function* () {
      const protocol = connect(yield* makeAssembly(), 0)
      say(protocol, [{ _tag: "KeepAlive" }], 50_000)

      const failures = [229_999, 230_000].map((now) => failureOf(() => PeerProtocol.tick(protocol, now)))

      assert.deepStrictEqual(failures, [undefined, { _tag: "PeerDropped", why: "it was silent for 3 minutes" }])
    })

    test("fault 46: and snubs a peer that sends nothing for 10 seconds: its requests are cancelled and released", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 0)
      const requested = asked(heard(protocol)).length

      const wasEarly = PeerProtocol.tick(protocol, 9_999)
      const isFreed = PeerProtocol.tick(protocol, 10_000)

      const said = tags(heard(protocol))
      assert.deepStrictEqual([requested, wasEarly, isFreed], [16, false, true])
      assert.deepStrictEqual(said, Array(16).fill("Cancel"))
      assert.deepStrictEqual([requestsCounted(assembly), protocol.pipeline.isSnubbed], [0, true])
    })

    test("and counts a block that arrives after its cancel as an answer", function* () {
      const protocol = yield* unchoked(yield* makeAssembly(), 0)
      const message = heard(protocol).find((message) => message._tag === "Request")
      if (message === undefined) return assert.fail("nothing was asked")
      RequestPipeline.release(protocol.pipeline, message.index, message.begin / block)
      protocol.cancel(message.index as PieceIndex, message.begin, message.length)
      protocol.pipeline.unanswered = 59_000

      say(protocol, [piece(message.index, message.begin / block)], 5_000)

      assert.strictEqual(protocol.pipeline.unanswered, 0)
    })

    test("fault 46: but not a peer that takes 16 s for a block", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 0)
      const [first] = asked(heard(protocol))
      const [index, at] = first!.split(":").map(Number)
      const frame = encodeAll([piece(index!, at!)])
      const expired: Array<number> = []
      for (let second = 1; second <= 17; second++) {
        const now = second * 1_000
        PeerProtocol.receive(protocol, frame.subarray((second - 1) * 1_024, second * 1_024), now)
        if (PeerProtocol.tick(protocol, now)) expired.push(now)
      }

      assert.deepStrictEqual(expired, [])
      assert.strictEqual(protocol.usefulBytes, block)
      assert.strictEqual(assembly.wastedBytes, 0)
    })

    test("fault 46: and requests one block at a time from a snubbed peer", function* () {
      const protocol = yield* unchoked(yield* makeAssembly(), 0)
      PeerProtocol.tick(protocol, 10_000)
      heard(protocol)

      yield* refill(protocol, 10_000)

      assert.strictEqual(asked(heard(protocol)).length, 1)
    })

    test("fault 46: and drops a peer that was snubbed for a minute, although it keeps talking", function* () {
      const protocol = yield* unchoked(yield* makeAssembly(), 0)
      let failure: ReturnType<typeof failureOf>
      let now = 0
      while (failure === undefined && now < 600_000) {
        now += 1_000
        say(protocol, [{ _tag: "KeepAlive" }], now)
        failure = failureOf(() => PeerProtocol.tick(protocol, now))
        yield* refill(protocol, now)
      }

      assert.deepStrictEqual(failure, { _tag: "PeerDropped", why: "it sent no requested block for a minute" })
      assert.strictEqual(now, 70_000)
    })

    test("fault 46: and drops it even if there was nothing more to request from it", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 0)
      PeerProtocol.tick(protocol, 10_000)
      const other = yield* unchoked(assembly, 1, { now: 10_000 })
      for (const message of heard(other)) {
        if (message._tag === "Request") say(other, [piece(message.index, message.begin / block)], 11_000)
      }
      yield* refill(protocol, 11_000)

      const failures = [69_000, 70_000].map((now) => {
        say(protocol, [{ _tag: "KeepAlive" }], now)
        return failureOf(() => PeerProtocol.tick(protocol, now))
      })

      assert.deepStrictEqual(
        failures.map((failure) => failure?._tag),
        [undefined, "PeerDropped"]
      )
    })

    test("and forgives a snubbed peer with its next block", function* () {
      const protocol = yield* unchoked(yield* makeAssembly(), 0)
      PeerProtocol.tick(protocol, 10_000)
      heard(protocol)
      yield* refill(protocol, 10_000)
      const [message] = heard(protocol)
      if (message?._tag !== "Request") return assert.fail("nothing was asked")
      say(protocol, [piece(message.index, message.begin / block)], 12_000)
      yield* refill(protocol, 12_000)
      const resumed = asked(heard(protocol)).length
      for (const { block: at, buffer } of [...protocol.pipeline.requests.values()]) {
        say(protocol, [piece(buffer.piece, at)], 12_000)
      }

      const failure = failureOf(() => PeerProtocol.tick(protocol, 80_000))

      assert.isAbove(resumed, 1)
      assert.isUndefined(failure)
    })

    test("and drops a peer that reads nothing of what is sent to it", function* () {
      const protocol = connect(yield* makeAssembly(), 0)
      protocol.patience.blockedSince = 1_000
      say(protocol, [{ _tag: "KeepAlive" }], 60_000)

      const failures = [60_999, 61_000].map((now) => failureOf(() => PeerProtocol.tick(protocol, now)))

      assert.deepStrictEqual(
        failures.map((failure) => failure?.why),
        [undefined, "it does not read what is sent to it"]
      )
    })

    test("and drops a peer at once when too much waits for it", function* () {
      const protocol = connect(yield* makeAssembly(), 0)
      protocol.patience.blockedSince = 1_000
      for (let turn = 0; protocol.outbox.length <= PeerPatience.maxWaiting; turn++) {
        PeerProtocol.announce(protocol, (turn % 4) as PieceIndex)
      }

      const failure = failureOf(() => PeerProtocol.tick(protocol, 2_000))

      assert.strictEqual(failure?.why, "it does not read what is sent to it")
    })

    test("and drops a peer that has everything when we do, too", function* () {
      const assembly = yield* makeAssembly({ stored: [0, 1, 2, 3] })
      const protocol = connect(assembly, 0)
      const before = failureOf(() => PeerProtocol.tick(protocol, 1_000))
      for (const index of [0, 1, 2, 3]) say(protocol, [{ _tag: "Have", index }], 2_000)

      const failure = failureOf(() => PeerProtocol.tick(protocol, 3_000))

      assert.deepStrictEqual([before, failure?.why], [undefined, "neither side wants anything more"])
    })
  })
})
