import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as Distrust from "../../src/assembly/Distrust.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import type * as WireMessage from "../../src/testing/WireMessage.ts"
import * as DontHave from "../../src/wire/extension/DontHave.ts"
import * as ExtensionHandshake from "../../src/wire/extension/ExtensionHandshake.ts"
import * as PexMessage from "../../src/wire/extension/PexMessage.ts"
import * as UploadOnly from "../../src/wire/extension/UploadOnly.ts"
import {
  asked,
  block,
  connect,
  failureOf,
  heard,
  makeAssembly,
  offersNothing,
  refill,
  requestsCounted,
  say,
  tags,
  test
} from "./protocols.ts"
import { torrentExtensions } from "./torrentExtensions.ts"

const other: PeerAddress = { host: "198.51.100.2", port: 6_881 }

const extensions: PeerProtocol.ExtensionOptions = {
  remote: { host: "203.0.113.7", port: 50_000 },
  torrent: torrentExtensions({
    info: new Uint8Array(100),
    port: () => 6_881,
    contacts: () => [{ address: other, flags: 0 }]
  })
}

/** A connection on which both sides speak BEP 10, and the means to say something by its extensions. */
const extended = (assembly: Assembly.Assembly, key = 0, options: Parameters<typeof connect>[2] = {}) => {
  const protocol = connect(assembly, key, { ...options, extensions })
  const said = heard(protocol)
  const greeting = said.find((message) => message._tag === "Extended")!
  const { ids } = Result.getOrThrow(ExtensionHandshake.decode(greeting.payload))
  const extension = (name: string, payload: Uint8Array): WireMessage.WireMessage => ({
    _tag: "Extended",
    id: ids.get(name)!,
    payload
  })
  return {
    protocol,
    said,
    greet: (handshake: Partial<ExtensionHandshake.ExtensionHandshake>) =>
      say(protocol, [{ _tag: "Extended", id: ExtensionHandshake.id, payload: ExtensionHandshake.encode(handshake) }]),
    dontHave: (piece: number) => extension(DontHave.extensionName, DontHave.encode(piece)),
    uploadOnly: (is: boolean) => extension(UploadOnly.extensionName, UploadOnly.encode(is))
  }
}

/** A seed that has unchoked us, with as many requests out as its pipeline holds. */
const extendedSeed = Effect.fnUntraced(function* (assembly: Assembly.Assembly, key: number) {
  const peer = extended(assembly, key)
  say(peer.protocol, [{ _tag: "HaveAll" }, { _tag: "Unchoke" }])
  yield* refill(peer.protocol)
  return { ...peer, asked: asked(heard(peer.protocol)) }
})

const availability = ({ picker }: Assembly.Assembly) => [...picker.availability]

describe("PeerProtocol, with extensions", () => {
  test("sends its extension handshake after its pieces", function* () {
    const { said } = extended(yield* makeAssembly({ stored: [1] }))

    assert.deepStrictEqual(tags(said), ["Bitfield", "Extended"])
  })

  test("neither sends nor reads extension messages if the peer does not speak BEP 10", function* () {
    const protocol = connect(yield* makeAssembly(), 0)

    say(protocol, [{ _tag: "Extended", id: 0, payload: Uint8Array.of(1) }])

    assert.deepStrictEqual(tags(heard(protocol)), ["HaveNone"])
  })

  test("has no more requests out than the peer accepts", function* () {
    const assembly = yield* makeAssembly()
    const { greet, protocol } = extended(assembly)
    greet({ maxRequests: 3 })

    say(protocol, [{ _tag: "HaveAll" }, { _tag: "Unchoke" }])
    yield* refill(protocol)

    assert.strictEqual(asked(heard(protocol)).length, 3)
    assert.strictEqual(RequestPipeline.room(protocol.pipeline), 0)
  })

  test("fault 39: believes a peer that wants nothing more, until it takes that back", function* () {
    const { greet, protocol, uploadOnly } = extended(yield* makeAssembly())

    const before = protocol.isUploadOnly
    greet({ uploadOnly: true })
    const between = protocol.isUploadOnly
    say(protocol, [uploadOnly(false)])

    assert.deepStrictEqual([before, between, protocol.isUploadOnly], [false, true, false])
  })

  test("fault 39: requests from others what a peer has lost, and no longer counts it", function* () {
    const assembly = yield* makeAssembly()
    const one = yield* extendedSeed(assembly, 0)
    const [piece] = one.asked.map((name) => Number(name.split(":")[0]) as PieceIndex)
    const two = connect(assembly, 1)
    say(two, [{ _tag: "Bitfield", bits: Uint8Array.of(0x80 >>> piece!) }, { _tag: "Unchoke" }])
    heard(two)
    const ofPiece = one.asked.filter((name) => name.startsWith(`${piece}:`))

    say(one.protocol, [one.dontHave(piece!), one.dontHave(piece!)])
    yield* refill(two)

    assert.deepStrictEqual(asked(heard(two)), ofPiece)
    assert.deepStrictEqual(tags(heard(one.protocol)), Array(ofPiece.length).fill("Cancel"))
    assert.deepStrictEqual(availability(assembly), Array(4).fill(1))
    assert.isFalse(one.protocol.isSeed)
    assert.strictEqual(requestsCounted(assembly), one.protocol.pipeline.requests.size + two.pipeline.requests.size)
  })

  test("fault 39: counts a late block of a lost piece, or a reject, as an answer and not as an attack", function* () {
    const assembly = yield* makeAssembly()
    const { asked, dontHave, protocol } = yield* extendedSeed(assembly, 0)
    const [first, second] = asked.map((name) => name.split(":").map(Number) as [number, number])
    say(protocol, [dontHave(first![0])])

    say(protocol, [
      { _tag: "Piece", index: first![0], begin: first![1] * block, block: new Uint8Array(block) },
      { _tag: "Reject", index: second![0], begin: second![1] * block, length: block }
    ])

    assert.strictEqual(protocol.patience.unaskedBlocks, 0)
    assert.strictEqual(protocol.refused.resting.size, 0)
    assert.strictEqual(requestsCounted(assembly), protocol.pipeline.requests.size)
  })

  test("fault 39: requests a lost piece again once the peer has it again", function* () {
    const assembly = yield* makeAssembly()
    const { asked: before, dontHave, protocol } = yield* extendedSeed(assembly, 0)
    const piece = Number(before[0]!.split(":")[0])
    say(protocol, [dontHave(piece)])
    heard(protocol)

    say(protocol, [{ _tag: "Have", index: piece }])
    yield* refill(protocol)

    assert.sameMembers(
      asked(heard(protocol)).slice(),
      before.filter((name) => name.startsWith(`${piece}:`))
    )
    assert.deepStrictEqual(availability(assembly), Array(4).fill(1))
  })

  test("fault 39: frees what was to come from the peer alone, with the next tick", function* () {
    const assembly = yield* makeAssembly()
    for (const piece of [0, 1, 2, 3] as Array<PieceIndex>)
      Distrust.requireSoleSource(Assembly.distrustOf(assembly), piece)
    const { asked, dontHave, protocol } = yield* extendedSeed(assembly, 0)

    say(protocol, [dontHave(Number(asked[0]!.split(":")[0]))])

    assert.deepStrictEqual([PeerProtocol.tick(protocol, 0), PeerProtocol.tick(protocol, 0)], [true, false])
  })

  test("loses interest in a peer that has lost all we want, and tolerates one that never had the piece", function* () {
    const { dontHave, protocol } = extended(yield* makeAssembly())
    say(protocol, [{ _tag: "HaveNone" }, { _tag: "Have", index: 2 }])
    heard(protocol)

    say(protocol, [dontHave(2), dontHave(3)])
    yield* refill(protocol)

    assert.deepStrictEqual(tags(heard(protocol)), ["NotInterested"])
    assert.strictEqual(failureOf(() => say(protocol, [dontHave(4)]))?._tag, "piecewise/WireError")
  })

  test("takes back an announced piece that cannot be read any more", function* () {
    const assembly = yield* makeAssembly({ stored: [0, 1] })
    const [told, having, offered] = [
      extended(assembly, 0),
      extended(assembly, 1),
      extended(assembly, 2, { offer: offersNothing })
    ]
    const plain = connect(assembly, 3)
    for (const { greet } of [told, having, offered]) greet({ ids: new Map([[DontHave.extensionName, 7]]) })
    say(having.protocol, [{ _tag: "Have", index: 1 }])
    const all = [told.protocol, having.protocol, offered.protocol, plain]
    for (const protocol of all) heard(protocol)

    for (const protocol of all) PeerProtocol.retract(protocol, 1 as PieceIndex)

    assert.deepStrictEqual(all.map(heard), [
      [{ _tag: "Extended", id: 7, payload: Uint8Array.of(0, 0, 0, 1) }],
      [],
      [],
      []
    ])
    assert.strictEqual(told.protocol.woken.times, 1)
  })

  test("sends peers each other's addresses as time passes, and is woken for it", function* () {
    const { greet, protocol } = extended(yield* makeAssembly())
    greet({ ids: new Map([[PexMessage.extensionName, 4]]) })
    const before = protocol.woken.times

    PeerProtocol.tick(protocol, 1_000)

    const [message] = heard(protocol)
    assert.deepInclude(message, { _tag: "Extended", id: 4 })
    assert.strictEqual(protocol.woken.times, before + 1)
  })
})
