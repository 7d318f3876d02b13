import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as PeerPatience from "../../src/peer/PeerPatience.ts"
import type * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as PeerRequests from "../../src/peer/PeerRequests.ts"
import type * as WireMessage from "../../src/testing/WireMessage.ts"
import { block, connect, failureOf, heard, makeAssembly, offersNothing, say, tags, test } from "./protocols.ts"
import * as Uploads from "./uploads.ts"

const message =
  (tag: "Request" | "Cancel" | "Reject") =>
  (index: number, at: number): WireMessage.WireMessage => ({ _tag: tag, index, begin: at * block, length: block })

const request = message("Request")
const cancel = message("Cancel")
const reject = message("Reject")

/** A protocol whose peer is unchoked, with pieces 0 and 1 stored and an empty outbox. */
const unchoking = Effect.fnUntraced(function* (options: Parameters<typeof connect>[2] = {}) {
  const protocol = connect(yield* makeAssembly({ stored: [0, 1] }), 0, options)
  PeerRequests.unchoke(protocol)
  heard(protocol)
  return protocol
})

describe("PeerProtocol, uploading", () => {
  test("queues the requests of an unchoked peer, and reports that there is something to serve", function* () {
    const protocol = yield* unchoking()

    say(protocol, [request(0, 0), request(0, 1), request(0, 1)])

    assert.deepStrictEqual([heard(protocol), protocol.uploads.waiting], [[], 2])
    assert.strictEqual(protocol.woken.served, 2)
  })

  test("sends a choke and an unchoke once", function* () {
    const protocol = connect(yield* makeAssembly(), 0)
    heard(protocol)

    PeerRequests.choke(protocol)
    PeerRequests.unchoke(protocol)
    PeerRequests.unchoke(protocol)
    PeerRequests.choke(protocol)
    PeerRequests.choke(protocol)

    assert.deepStrictEqual(tags(heard(protocol)), ["Unchoke", "Choke"])
  })

  test("rejects what waits after it has sent a choke, and forgets it without BEP 6", function* () {
    const [fast, plain] = [yield* unchoking(), yield* unchoking({ isFast: false })]
    for (const protocol of [fast, plain]) say(protocol, [request(0, 0), request(1, 2)])

    for (const protocol of [fast, plain]) PeerRequests.choke(protocol)

    assert.deepStrictEqual(heard(fast), [{ _tag: "Choke" }, reject(0, 0), reject(1, 2)])
    assert.deepStrictEqual(heard(plain), [{ _tag: "Choke" }])
    assert.deepStrictEqual([fast.uploads.waiting, plain.uploads.waiting], [0, 0])
  })

  test("answers a cancel of what waits with a reject, and one that comes too late with nothing", function* () {
    const protocol = yield* unchoking()
    say(protocol, [request(0, 0), request(0, 1)])

    say(protocol, [cancel(0, 0), cancel(0, 0), cancel(1, 0)])

    assert.deepStrictEqual([heard(protocol), protocol.uploads.waiting], [[reject(0, 0)], 1])
  })

  test("notes interest, and has uploads chosen anew when it changes", function* () {
    const protocol = connect(yield* makeAssembly(), 0)

    say(protocol, [{ _tag: "Interested" }, { _tag: "Interested" }])
    const isInterested = protocol.peerInterested
    say(protocol, [{ _tag: "NotInterested" }])

    assert.deepStrictEqual([isInterested, protocol.peerInterested, protocol.woken.chosen], [true, false, 2])
  })

  test("fault 28: refuses pieces that it does not have, and ends with a peer that goes on requesting them", function* () {
    const protocol = yield* unchoking()

    say(protocol, [request(2, 0)])
    const first = heard(protocol)
    const more = Array.from({ length: PeerPatience.maxWrongRequests - 1 }, () => request(3, 0))
    const failures = [more, [request(3, 0)]].map((messages) => failureOf(() => say(protocol, messages))?._tag)

    assert.deepStrictEqual(first, [reject(2, 0)])
    assert.deepStrictEqual(failures, [undefined, "piecewise/WireError"])
    assert.strictEqual(protocol.uploads.waiting, 0)
  })

  test("allows a choked peer some of the pieces that it has and the peer does not, and no others", function* () {
    const protocol = connect(yield* makeAssembly({ stored: [0, 1, 2] }), 0, { allowedFast: [3, 1, 0] })
    heard(protocol)

    say(protocol, [{ _tag: "Bitfield", bits: Uint8Array.of(0x80) }, request(1, 0), request(2, 0)])

    assert.deepStrictEqual(heard(protocol), [{ _tag: "AllowedFast", index: 1 }, reject(2, 0)])
    assert.deepStrictEqual([protocol.uploads.waiting, protocol.woken.served], [1, 1])
  })

  test("ends the larger share of a peer within the bytes for which it has it", function* () {
    const protocol = connect(yield* makeAssembly({ stored: [0] }), 1)
    const { upload } = protocol.limits
    PeerRequests.uploaded(protocol, 0 as PieceIndex, 3 * block, 0)
    PeerRequests.setWeight(protocol, 9, 2 * block)
    const weights = [upload.weight]
    for (const _ of [1, 2]) {
      PeerRequests.uploaded(protocol, 0 as PieceIndex, block, 0)
      weights.push(upload.weight)
    }

    assert.deepStrictEqual(weights, [9, 9, 1])
  })

  test("allows nothing to a peer with enough pieces, to one that is offered single pieces, and without BEP 6", function* () {
    const geometry = PieceGeometry.make({ totalLength: 12 * block, pieceLength: block })
    const assembly = yield* makeAssembly({ geometry, stored: [0, 1] })
    const [rich, poor, plain, told] = [
      connect(assembly, 0, { allowedFast: [0] }),
      connect(assembly, 1, { allowedFast: [0] }),
      connect(assembly, 2, { allowedFast: [0], isFast: false }),
      connect(assembly, 3, { allowedFast: [0], offer: offersNothing })
    ]
    for (const protocol of [rich, poor, plain, told]) heard(protocol)

    say(rich, [{ _tag: "Bitfield", bits: Uint8Array.of(0x3f, 0xf0) }])
    for (const protocol of [poor, plain, told]) say(protocol, [{ _tag: "Bitfield", bits: Uint8Array.of(0x3f, 0xe0) }])

    const allowed = (protocol: PeerProtocol.PeerProtocol) => tags(heard(protocol)).includes("AllowedFast")
    assert.deepStrictEqual([rich, poor, plain, told].map(allowed), [false, true, false, false])
  })

  test("sends a choked peer no more than two copies of what it allows, and an unchoked one all it requests", function* () {
    const protocol = connect(yield* makeAssembly({ stored: [0, 1] }), 0, { allowedFast: [1] })
    const copy = 4 * block
    const asks = (): boolean => {
      say(protocol, [request(1, 0), cancel(1, 0)])
      return protocol.woken.served > 0
    }
    heard(protocol)
    PeerRequests.unchoke(protocol)
    PeerRequests.uploaded(protocol, 1 as PieceIndex, 10 * copy, 0)
    PeerRequests.choke(protocol)

    const before = asks()
    protocol.woken.served = 0
    PeerRequests.uploaded(protocol, 1 as PieceIndex, 2 * copy, 0)

    assert.deepStrictEqual([before, asks()], [true, false])
  })

  test("refuses a piece that the storage has lost, and does not announce it to new peers", function* () {
    const assembly = yield* makeAssembly({ stored: [0, 1] })
    const upload = Uploads.make(assembly.geometry)
    Bitfield.add(upload.unreadable, 1)
    const protocol = connect(assembly, 0, { upload })
    const [told] = heard(protocol)
    PeerRequests.unchoke(protocol)
    heard(protocol)

    say(protocol, [request(0, 0), request(1, 0)])

    assert.deepStrictEqual(told, { _tag: "Bitfield", bits: Uint8Array.of(0x80) })
    assert.deepStrictEqual([heard(protocol), protocol.uploads.waiting], [[reject(1, 0)], 1])
  })
})
