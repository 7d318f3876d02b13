import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as fc from "fast-check"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as Distrust from "../../src/assembly/Distrust.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as PeerPatience from "../../src/peer/PeerPatience.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as Overtaking from "../../src/supply/Overtaking.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import * as FrameStream from "../../src/testing/arbitrary/FrameStream.ts"
import type { WireMessage } from "../../src/testing/WireMessage.ts"
import * as WireMessages from "../../src/testing/WireMessage.ts"
import {
  asked,
  block,
  bytesOf,
  connect,
  failureOf,
  heard,
  makeAssembly,
  piece,
  refill,
  requestsCounted,
  say,
  stateOf,
  tags,
  test,
  unchoked,
  writersClaimed
} from "./protocols.ts"

/** Runs a scenario once for each value that fast-check draws, in a scope of its own. */
const holds = <A>(
  arbitrary: fc.Arbitrary<A>,
  scenario: (value: A) => Effect.Effect<void, unknown, Scope.Scope>,
  runs = 60
) =>
  Effect.promise(() =>
    fc.assert(
      fc.asyncProperty(arbitrary, (value) => Effect.runPromise(Effect.scoped(scenario(value)))),
      { numRuns: runs }
    )
  )

const reject = (index: number, at: number): WireMessage => ({
  _tag: "Reject",
  index,
  begin: at * block,
  length: bytesOf(index, at).length
})

/** Peers that were asked for the same blocks: the first one is silent, and each of the others was faster so far. */
const racing = (assembly: Assembly.Assembly, count: number) =>
  Effect.forEach(
    Array.from({ length: count }, (_, key) => key),
    Effect.fnUntraced(function* (key) {
      const protocol = connect(assembly, key)
      say(protocol, [{ _tag: "HaveAll" }, { _tag: "Unchoke" }])
      if (key > 0) Object.assign(protocol.pipeline, { blocksPerSecond: 1_000, delay: 1 })
      yield* refill(protocol, key * 2 * Overtaking.patience)
      return protocol
    })
  )

/** The peer answers every request in `messages`. */
const answer = (
  protocol: PeerProtocol.PeerProtocol,
  messages: ReadonlyArray<WireMessage>,
  by: (index: number, at: number) => WireMessage = piece,
  now = protocol.now
): void => {
  for (const message of messages) {
    if (message._tag === "Request") say(protocol, [by(message.index, message.begin / block)], now)
  }
}

describe("PeerProtocol", () => {
  describe("accepts requested blocks", () => {
    test("straight to their place, and passes a piece on with its last block", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 7)

      answer(protocol, heard(protocol))

      assert.deepStrictEqual(assembly.table.counts, { missing: 0, active: 0, complete: 4, verified: 0, stored: 0 })
      for (const { buffer } of assembly.pool.loans.values()) {
        for (let at = 0; at < 4; at++) {
          assert.deepStrictEqual(PieceBuffer.blockBytes(buffer, at), bytesOf(buffer.piece, at))
        }
        assert.deepStrictEqual([...PieceBuffer.contributorsOf(buffer)], [7])
      }
      assert.deepStrictEqual([assembly.wastedBytes, protocol.usefulBytes], [0, assembly.geometry.totalLength])
      assert.deepStrictEqual([requestsCounted(assembly), writersClaimed(assembly)], [0, 0])
    })

    test("fault 26: in the same way however the bytes are cut", function* () {
      const script = fc.array(
        fc.oneof(
          { weight: 12, arbitrary: fc.record({ what: fc.constant("answer"), at: fc.nat(15) }) },
          { weight: 3, arbitrary: fc.record({ what: fc.constantFrom("reject", "unasked", "short"), at: fc.nat(15) }) },
          { weight: 2, arbitrary: fc.record({ what: fc.constantFrom("choke", "unchoke", "request"), at: fc.nat(15) }) }
        ),
        { maxLength: 24 }
      )
      const message = ({ at, what }: { readonly what: string; readonly at: number }): WireMessage => {
        const [index, inPiece] = [at >>> 2, at & 3]
        if (what === "reject") return reject(index, inPiece)
        if (what === "unasked") return piece((index + 1) % 4, inPiece)
        if (what === "short") return piece(index, inPiece, bytesOf(index, inPiece).subarray(1))
        if (what === "choke") return { _tag: "Choke" }
        if (what === "unchoke") return { _tag: "Unchoke" }
        if (what === "request") return { _tag: "Request", index, begin: 0, length: 1 }
        return piece(index, inPiece)
      }
      yield* holds(
        fc.tuple(script, FrameStream.cutting),
        Effect.fnUntraced(function* ([lines, sizes]) {
          const bytes = WireMessages.encodeAll(lines.map(message))
          const whole = yield* unchoked(yield* makeAssembly(), 0)
          const parts = yield* unchoked(yield* makeAssembly(), 0)

          PeerProtocol.receive(whole, bytes, 1)
          for (const chunk of FrameStream.cut(bytes, sizes)) PeerProtocol.receive(parts, chunk.slice(), 1)

          assert.deepStrictEqual(stateOf(parts), stateOf(whole))
        }),
        40
      )
    })
  })

  describe("refuses blocks that were not requested", () => {
    const wrong: ReadonlyArray<{ readonly name: string; readonly message: WireMessage }> = [
      { name: "unrequested", message: piece(0, 0) },
      { name: "at an unaligned offset", message: { _tag: "Piece", index: 1, begin: 1, block: bytesOf(1, 0) } },
      { name: "a byte short", message: piece(1, 0, bytesOf(1, 0).subarray(1)) },
      { name: "a byte long", message: piece(1, 0, new Uint8Array(block + 1)) },
      { name: "empty", message: piece(1, 0, new Uint8Array(0)) },
      { name: "of a piece that does not exist", message: { _tag: "Piece", index: 4, begin: 0, block: bytesOf(0, 0) } },
      {
        name: "past the end of its piece, where the next one would be",
        message: { _tag: "Piece", index: 0, begin: 4 * block, block: bytesOf(1, 0) }
      },
      {
        name: "at the largest offset there is",
        message: { _tag: "Piece", index: 1, begin: 0xffff_ffff, block: bytesOf(1, 0) }
      },
      { name: "of a piece that is stored", message: piece(2, 0) }
    ]
    for (const { message, name } of wrong) {
      test(`fault 29: a block ${name} takes no buffer, is counted, and in the end disconnects`, function* () {
        const assembly = yield* makeAssembly({ stored: [0, 2] })
        const protocol = connect(assembly, 0)
        // It has one of the two missing pieces, whose blocks are requested.
        say(protocol, [{ _tag: "Have", index: 1 }, { _tag: "Unchoke" }])
        yield* refill(protocol)
        const before = stateOf(protocol)

        say(protocol, [message])
        const after = stateOf(protocol)
        const failure = failureOf(() => say(protocol, Array(PeerPatience.maxUnaskedBlocks).fill(message)))

        const length = message._tag === "Piece" ? message.block.length : 0
        assert.deepStrictEqual(after.buffers, before.buffers)
        assert.deepStrictEqual(after.requests, before.requests)
        assert.deepStrictEqual([after.counts[0], after.wasted], [1, length])
        assert.deepStrictEqual([BufferPool.lentCount(assembly.pool), protocol.usefulBytes], [1, 0])
        assert.deepStrictEqual([failure?._tag, failure?.why], ["piecewise/WireError", "blocks that nobody requested"])
      })
    }

    test("except those that cross with a cancel of ours", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 0)
      const requested = heard(protocol)
      PeerProtocol.tick(protocol, 10_000)

      answer(protocol, requested, piece, 10_001)

      assert.deepStrictEqual([protocol.patience.unaskedBlocks, protocol.cancelled.blocks.size], [0, 0])
      assert.strictEqual(assembly.wastedBytes, assembly.geometry.totalLength)
    })

    test("and forgets a cancel that the peer confirms with a reject", function* () {
      const protocol = yield* unchoked(yield* makeAssembly(), 0)
      const requested = heard(protocol)
      PeerProtocol.tick(protocol, 10_000)

      answer(protocol, requested, reject, 10_001)

      assert.strictEqual(protocol.cancelled.blocks.size, 0)
    })
  })

  describe("releases requests", () => {
    test("fault 45: when a peer without BEP 6 chokes, and requests again when it unchokes, over and over", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 0, { isFast: false })
      const first = asked(heard(protocol))
      const rounds: Array<ReadonlyArray<string>> = []
      const held: Array<number> = []
      for (let turn = 1; turn <= 100; turn++) {
        say(protocol, [{ _tag: "Choke" }], turn * 100)
        yield* refill(protocol)
        held.push(requestsCounted(assembly) + asked(heard(protocol)).length)
        say(protocol, [{ _tag: "Unchoke" }], turn * 100 + 50)
        yield* refill(protocol)
        rounds.push(asked(heard(protocol)))
      }

      assert.deepStrictEqual(new Set(held), new Set([0]))
      for (const round of rounds) assert.sameMembers([...round], [...first])
      assert.deepStrictEqual([requestsCounted(assembly), BufferPool.lentCount(assembly.pool)], [16, 4])
    })

    test("fault 45: and remembers no more than a bounded number of them", function* () {
      const assembly = yield* makeAssembly({
        geometry: { totalLength: 3_000 * block, pieceLength: 10 * block, pieceCount: 300 },
        maxActivePieces: 300
      })
      const protocol = yield* unchoked(assembly, 0, { isFast: false })
      protocol.pipeline.depth = 3_000
      yield* refill(protocol)

      say(protocol, [{ _tag: "Choke" }])

      assert.strictEqual(protocol.cancelled.blocks.size, 1_024)
    })

    test("when a peer without requests chokes, because a piece may have been left to it", function* () {
      const assembly = yield* makeAssembly({ maxActivePieces: 1 })
      const hungry = yield* unchoked(assembly, 0)
      const other = yield* unchoked(assembly, 1)
      Assembly.idle(assembly, hungry)
      const before = [hungry.woken.times, other.pipeline.requests.size]

      say(other, [{ _tag: "Choke" }])

      assert.deepStrictEqual(before, [0, 0])
      assert.strictEqual(hungry.woken.times, 1)
    })

    test("fault 45: a choke under BEP 6 leaves them to be answered or rejected one by one", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 0)
      const requested = heard(protocol).filter(({ _tag }) => _tag === "Request")

      say(protocol, [{ _tag: "Choke" }])
      const kept = requestsCounted(assembly)
      answer(protocol, requested.slice(0, 4))
      answer(protocol, requested.slice(4), reject)

      assert.deepStrictEqual([kept, requestsCounted(assembly), protocol.refused.resting.size], [16, 0, 0])
      assert.isAtLeast(protocol.usefulBytes, 4 * block - 100)
    })

    test("that are rejected, and requests the piece again after 5 s, then less and less often, up to ten minutes", function* () {
      const assembly = yield* makeAssembly({ geometry: PieceGeometry.make({ totalLength: block, pieceLength: block }) })
      const protocol = yield* unchoked(assembly, 0)
      const waits: Array<number> = []
      let asked = heard(protocol)
      let last = 0
      for (let now = 0; now < 3_000_000; now += 1_000) {
        Assembly.tick(assembly, now)
        yield* refill(protocol, now)
        asked = [...asked, ...heard(protocol)].filter(({ _tag }) => _tag === "Request")
        if (asked.length === 0) continue
        waits.push((now - last) / 1_000)
        last = now
        protocol.now = now
        answer(protocol, asked, reject)
        asked = []
      }

      assert.deepStrictEqual(waits, [0, 5, 10, 20, 40, 80, 160, 320, 600, 600, 600])
    })

    test("that are rejected, and does not request the piece again before the next unchoke", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 0)
      answer(protocol, heard(protocol), reject)
      yield* refill(protocol)
      const again = asked(heard(protocol)).length
      say(protocol, [{ _tag: "Unchoke" }])
      yield* refill(protocol)

      assert.deepStrictEqual([again, asked(heard(protocol)).length], [0, 16])
    })

    test("fault 40: that are rejected by the only source of a piece, which the next tick abandons", function* () {
      const assembly = yield* makeAssembly({ maxActivePieces: 1 })
      for (const index of [0, 1, 2, 3]) Distrust.requireSoleSource(Assembly.distrustOf(assembly), index as PieceIndex)
      const protocol = yield* unchoked(assembly, 0)
      const [first, second] = heard(protocol).flatMap((message) => (message._tag === "Request" ? [message] : []))
      say(protocol, [piece(first!.index, first!.begin / block)])
      const before = PeerProtocol.tick(protocol, 1_000)
      const { begin, index, length } = second!
      say(protocol, [{ _tag: "Reject", index, begin, length }])

      const isFreed = PeerProtocol.tick(protocol, 2_000)
      const again = PeerProtocol.tick(protocol, 3_000)
      yield* Assembly.abandon(assembly, protocol)
      const other = yield* unchoked(assembly, 1)

      assert.deepStrictEqual([before, isFreed, again], [false, true, false])
      assert.isTrue(asked(heard(other)).length > 0)
    })

    test("fault 47: a peer that rejects everything holds up few pieces", function* () {
      const assembly = yield* makeAssembly({
        geometry: { totalLength: 4_000 * block, pieceLength: 40 * block, pieceCount: 100 },
        maxActivePieces: 20
      })
      const liar = yield* unchoked(assembly, 0)
      for (let turn = 0; turn < 200; turn++) {
        for (const message of heard(liar)) {
          if (message._tag === "Request") say(liar, [{ ...message, _tag: "Reject" }])
        }
        yield* refill(liar)
      }

      assert.isAtMost(BufferPool.lentCount(assembly.pool), 4)
    })

    test("when the peer is gone, half a block included", function* () {
      const assembly = yield* makeAssembly()
      const protocol = yield* unchoked(assembly, 0)
      const first = heard(protocol).find(({ _tag }) => _tag === "Request")
      if (first?._tag !== "Request") return assert.fail("nothing was asked")
      const bytes = WireMessages.encodeAll([piece(first.index, first.begin / block)])
      PeerProtocol.receive(protocol, bytes.subarray(0, 8_000), 1)
      const claimed = writersClaimed(assembly)

      yield* PeerProtocol.close(protocol)
      const left = [writersClaimed(assembly), requestsCounted(assembly)]
      const other = yield* unchoked(assembly, 1)
      answer(other, heard(other))

      assert.deepStrictEqual([claimed, left], [1, [0, 0]])
      assert.strictEqual(assembly.table.counts.complete, 4)
    })

    test("law 4: in the middle of a block whose loan ends, and writes nothing into memory that was lent again", function* () {
      const assembly = yield* makeAssembly({ maxActivePieces: 1 })
      const protocol = yield* unchoked(assembly, 0)
      const first = heard(protocol).find(({ _tag }) => _tag === "Request")
      if (first?._tag !== "Request") return assert.fail("nothing was asked")
      const bytes = WireMessages.encodeAll([piece(first.index, first.begin / block)])
      PeerProtocol.receive(protocol, bytes.subarray(0, 8_000), 1)
      const [loan] = [...assembly.pool.loans.values()]
      const memory = loan!.buffer.bytes
      yield* BufferPool.close(assembly.pool, loan!.buffer.piece)
      memory.fill(0xee)

      PeerProtocol.receive(protocol, bytes.subarray(8_000), 2)

      assert.deepStrictEqual(new Set(memory), new Set([0xee]))
      assert.deepStrictEqual([requestsCounted(assembly), protocol.usefulBytes], [0, 0])
      // A buffer that a connection still refers to is memory beyond the budget.
      assert.isUndefined(protocol.receiving.request)
    })
  })

  describe("plays the end game", () => {
    test("fault 44: with at most three requests for a block, and cancels the others when the first answer arrives", function* () {
      const assembly = yield* makeAssembly()
      const peers = yield* racing(assembly, 4)
      const requests = peers.map((peer) => asked(heard(peer)).length)
      const loans = [...assembly.pool.loans.values()]
      const most = Math.max(...loans.flatMap(({ buffer }) => [...buffer.requests]))

      say(peers[2]!, [piece(1, 2)])

      const cancels = peers.map((peer) => tags(heard(peer)))
      assert.deepStrictEqual([requests, most], [[16, 16, 16, 0], 3])
      assert.deepStrictEqual(cancels, [["Cancel"], ["Cancel"], [], []])
      assert.strictEqual(requestsCounted(assembly), 45)
    })

    test("fault 44: and never mixes the bytes of two peers that send the same block at once", function* () {
      const turns = fc.array(fc.record({ peer: fc.nat(2), bytes: fc.integer({ min: 1, max: 9_000 }) }), {
        minLength: 4,
        maxLength: 60
      })
      yield* holds(
        turns,
        Effect.fnUntraced(function* (script) {
          const assembly = yield* makeAssembly({ stored: [0, 1, 2] })
          const peers = yield* racing(assembly, 3)
          assert.strictEqual(requestsCounted(assembly), 12)
          // Every peer fills its blocks with its own number.
          const streams = peers.map((peer, key) =>
            WireMessages.encodeAll(
              heard(peer).flatMap((message) =>
                message._tag === "Request"
                  ? [piece(message.index, message.begin / block, new Uint8Array(message.length).fill(key + 1))]
                  : []
              )
            )
          )
          const sent = [0, 0, 0]
          for (const { bytes, peer } of [...script, ...[0, 1, 2].map((peer) => ({ peer, bytes: 1_000_000 }))]) {
            PeerProtocol.receive(peers[peer]!, streams[peer]!.slice(sent[peer]!, sent[peer]! + bytes), 1)
            sent[peer]! += bytes
          }

          const [buffer] = Array.from(assembly.pool.loans.values(), (loan) => loan.buffer)
          assert.isTrue(buffer !== undefined && PieceBuffer.isComplete(buffer))
          for (let at = 0; at < 4; at++) {
            const contributor = buffer!.contributors[at]!
            assert.deepStrictEqual(new Set(PieceBuffer.blockBytes(buffer!, at)), new Set([contributor + 1]))
          }
          assert.deepStrictEqual([requestsCounted(assembly), writersClaimed(assembly)], [0, 0])
          assert.strictEqual(Bitfield.isFull(buffer!.received), true)
        })
      )
    })
  })
})
