import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as AllowedFast from "../../src/peer/AllowedFast.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import type * as WireMessage from "../../src/testing/WireMessage.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import {
  asked,
  block,
  bytesOf,
  connect,
  heard,
  makeAssembly,
  piece,
  refill,
  requestsCounted,
  say,
  tags,
  test
} from "./protocols.ts"

const allows = (index: number): WireMessage.WireMessage => ({ _tag: "AllowedFast", index })
const choke: WireMessage.WireMessage = { _tag: "Choke" }
const unchoke: WireMessage.WireMessage = { _tag: "Unchoke" }

const rejects = (index: number, at: number): WireMessage.WireMessage => ({
  _tag: "Reject",
  index,
  begin: at * block,
  length: bytesOf(index, at).length
})

/** A seed that chokes us and allows these pieces, and what was requested from it. */
const choking = Effect.fnUntraced(function* (assembly: Assembly.Assembly, ...allowed: ReadonlyArray<number>) {
  const protocol = connect(assembly, 0)
  say(protocol, [{ _tag: "HaveAll" }, ...allowed.map(allows)])
  yield* refill(protocol)
  return { protocol, first: asked(heard(protocol)) }
})

describe("PeerProtocol, choked", () => {
  test("requests only what the peer allows", function* () {
    const { first } = yield* choking(yield* makeAssembly(), 2)

    assert.deepStrictEqual(first, ["2:0", "2:1", "2:2", "2:3"])
  })

  test("waits for what is allowed when it is choked again, and requests nothing else", function* () {
    const assembly = yield* makeAssembly()
    const { protocol } = yield* choking(assembly, 2)
    say(protocol, [unchoke])
    yield* refill(protocol)
    const all = asked(heard(protocol)).length

    say(protocol, [choke, ...[0, 1, 3].flatMap((index) => [0, 1, 2, 3].map((at) => rejects(index, at)))])
    yield* refill(protocol)

    assert.strictEqual(all, 12)
    assert.deepStrictEqual([asked(heard(protocol)), protocol.pipeline.requests.size], [[], 4])
    assert.strictEqual(requestsCounted(assembly), protocol.pipeline.requests.size)
  })

  test("does not request an allowed piece that is stored, or that the peer does not have", function* () {
    const assembly = yield* makeAssembly({ stored: [1] })
    const protocol = connect(assembly, 0)
    say(protocol, [{ _tag: "HaveNone" }, { _tag: "Have", index: 0 }, allows(1), allows(2)])
    yield* refill(protocol)
    const before = asked(heard(protocol))

    say(protocol, [{ _tag: "Have", index: 2 }])
    yield* refill(protocol)

    assert.deepStrictEqual([before, asked(heard(protocol))], [[], ["2:0", "2:1", "2:2", "2:3"]])
  })

  test("does not insist on an allowed piece that is refused after all", function* () {
    const assembly = yield* makeAssembly()
    const { protocol } = yield* choking(assembly, 2)

    say(protocol, [rejects(2, 0)])
    yield* refill(protocol)

    assert.deepStrictEqual(asked(heard(protocol)), [])
    assert.deepStrictEqual([...protocol.refused.resting], [2])
  })

  test("requests an allowed piece again after a while, less and less often", function* () {
    const assembly = yield* makeAssembly()
    const { protocol } = yield* choking(assembly, 2)
    const waits: Array<number> = []
    let last = 0
    say(protocol, [rejects(2, 0)], 0)
    for (let now = 0; now < 40_000; now += 1_000) {
      Assembly.tick(assembly, now)
      yield* refill(protocol, now)
      if (asked(heard(protocol)).length === 0) continue
      waits.push(now - last)
      last = now
      say(protocol, [rejects(2, 0)], now)
    }

    assert.deepStrictEqual(waits, [5_000, 10_000, 20_000])
  })

  test("accepts the blocks of an allowed piece like any others", function* () {
    const assembly = yield* makeAssembly()
    const { protocol } = yield* choking(assembly, 2)

    say(protocol, [piece(2, 0), piece(2, 1), piece(2, 2), piece(2, 3)])

    assert.deepStrictEqual([assembly.table.counts.complete, assembly.wastedBytes], [1, 0])
    assert.notInclude(tags(heard(protocol)), "Cancel")
  })

  test("remembers a bounded number of allowed pieces, however many are named", function* () {
    const geometry = PieceGeometry.make({ totalLength: 200 * block, pieceLength: block })
    const { protocol } = yield* choking(
      yield* makeAssembly({ geometry }),
      ...Array.from({ length: 200 }, (_, index) => index)
    )

    assert.strictEqual(protocol.allowedFast.size, AllowedFast.maxTaken)
  })

  test("has a turn after a choke, or with something to say, although its pipeline is full", function* () {
    const assembly = yield* makeAssembly()
    const protocol = connect(assembly, 0)
    say(protocol, [{ _tag: "HaveAll" }, { _tag: "Unchoke" }])
    heard(protocol)
    protocol.pipeline.depth = 0

    const full = PeerProtocol.hasTurn(protocol)
    say(protocol, [{ _tag: "Choke" }])
    heard(protocol)
    const choked = PeerProtocol.hasTurn(protocol)
    say(protocol, [{ _tag: "Unchoke" }])
    heard(protocol)
    const before = PeerProtocol.hasTurn(protocol)
    FrameEncoder.keepAlive(protocol.outbox)
    const speaking = PeerProtocol.hasTurn(protocol)

    assert.deepStrictEqual([full, choked, before, speaking], [false, true, false, true])
  })
})
