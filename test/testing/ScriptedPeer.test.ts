import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import { Dialer, Listener } from "../../src/network/Transport.ts"
import * as PeerScript from "../../src/testing/arbitrary/PeerScript.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import * as WireMessage from "../../src/testing/WireMessage.ts"
import * as ExtensionHandshake from "../../src/wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../../src/wire/extension/MetadataMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as Handshake from "../../src/wire/Handshake.ts"

const infoHash = new Uint8Array(20).fill(0x5a) as InfoHash

/** Four pieces of two blocks each; the last piece is 100 bytes short. */
const geometry = PieceGeometry.make({ totalLength: 4 * 32_768 - 100, pieceLength: 32_768 })

const contents = [32_768, 32_768, 32_768, 32_668].map((length, piece) =>
  Uint8Array.from({ length }, (_, at) => piece * 53 + at * 7 + (at >>> 8))
)

const content = (piece: PieceGeometry.PieceIndex) => contents[piece]!

/** The right bytes of a block, within the torrent. */
const blockAt = (index: number, begin: number, length = 16_384) =>
  contents[index]?.subarray(begin, begin + length) ?? new Uint8Array(0)

const options = (behaviour: PeerBehaviour): ScriptedPeer.Options => ({ infoHash, geometry, content, behaviour })

/** Runs everything that needs no time. */
const settle = Effect.gen(function* () {
  for (let turn = 0; turn < 300; turn++) yield* Effect.yieldNow
})

const pass = (duration: Duration.Input) => Effect.andThen(TestClock.adjust(duration), settle)

/** The other side: a client that sends what a test makes it send, and remembers what it receives. */
const client = Effect.fnUntraced(function* (
  address: PeerAddress,
  {
    extensions = false,
    fast = true,
    hash = infoHash
  }: { readonly extensions?: boolean; readonly fast?: boolean; readonly hash?: InfoHash } = {}
) {
  const dialer = yield* Dialer
  const connection = yield* dialer.connect(address)
  const decoder = Handshake.makeDecoder()
  const messages: Array<WireMessage.WireMessage> = []
  const frames = FrameDecoder.make(WireMessage.sink((message) => messages.push(message)))
  const state = { isClosed: false, bytes: 0 }
  connection.receiveUnsafe((view) => {
    state.bytes += view.length
    const rest = view.subarray(Handshake.push(decoder, view))
    if (rest.length > 0) FrameDecoder.push(frames, rest)
    return true
  })
  yield* Effect.forkScoped(
    Effect.onExit(connection.closed, () =>
      Effect.sync(() => {
        state.isClosed = true
      })
    )
  )
  const features = { ...Handshake.noFeatures, fast, extensionProtocol: extensions }
  connection.writeUnsafe(Handshake.encode({ features, infoHash: hash, peerId: new Uint8Array(20).fill(0x63) }))
  const send = (...said: ReadonlyArray<WireMessage.WireMessage>) => {
    connection.writeUnsafe(WireMessage.encodeAll(said))
    return settle
  }
  yield* settle
  return {
    messages,
    state,
    handshake: () => Handshake.result(decoder),
    send,
    /** The messages since the last call. */
    heard: () => messages.splice(0)
  }
})

/** A client of a new peer that has unchoked it. Earlier messages are forgotten. */
const unchoked = Effect.fnUntraced(function* (behaviour: PeerBehaviour, fast = true) {
  const peer = yield* ScriptedPeer.serve(options(behaviour))
  const other = yield* client(peer.address, { fast })
  yield* other.send({ _tag: "Interested" })
  other.heard()
  return { counters: peer.counters, ...other }
})

const request = (index: number, begin = 0, length = 16_384) => ({ _tag: "Request" as const, index, begin, length })
const piece = (index: number, begin = 0, length = 16_384) => ({
  _tag: "Piece" as const,
  index,
  begin,
  block: blockAt(index, begin, length)
})
const reject = (index: number, begin = 0, length = 16_384) => ({ _tag: "Reject" as const, index, begin, length })
const tags = (messages: ReadonlyArray<WireMessage.WireMessage>) => messages.map((message) => message._tag)
const wrongBits = (message: WireMessage.WireMessage | undefined): number => {
  if (message?._tag !== "Piece") return -1
  const right = blockAt(message.index, message.begin, message.block.length)
  return message.block.reduce((bits, byte, at) => bits + ((byte ^ right[at]!).toString(2).match(/1/g)?.length ?? 0), 0)
}

const test = (
  name: string,
  body: () => Generator<Effect.Effect<unknown, unknown, Dialer | Listener | Scope.Scope>, void, never>
) => it.effect(name, () => Effect.provide(Effect.gen(body), MemoryNetwork.layer()))

describe("ScriptedPeer", () => {
  describe("as an honest seed", () => {
    test("answers the handshake, has all, unchokes an interested client and serves right blocks", function* () {
      const peer = yield* ScriptedPeer.serve(options({}))
      const other = yield* client(peer.address)
      const greeting = other.heard()
      yield* other.send({ _tag: "Interested" })
      const unchoke = other.heard()
      yield* other.send(request(3, 16_384, 16_284), request(0), request(1, 100, 50))

      assert.deepStrictEqual(other.handshake()?.infoHash, infoHash)
      assert.deepStrictEqual(greeting, [{ _tag: "HaveAll" }])
      assert.deepStrictEqual(unchoke, [{ _tag: "Unchoke" }])
      assert.deepStrictEqual(other.heard(), [piece(3, 16_384, 16_284), piece(0), piece(1, 100, 50)])
      assert.deepInclude(peer.counters, {
        connections: 1,
        openConnections: 1,
        handshakes: 1,
        requests: 3,
        blocks: 3,
        blockBytes: 16_284 + 16_384 + 50,
        wrongBlocks: 0,
        badRequests: 0,
        complaints: []
      })
    })

    test("sends a bitfield to a client without BEP 6, with only the pieces that it has", function* () {
      const seed = yield* ScriptedPeer.serve(options({}))
      const some = yield* ScriptedPeer.serve(options({ pieces: [1, 3, 99] }))
      const none = yield* ScriptedPeer.serve(options({ pieces: [] }))

      const plain = yield* client(seed.address, { fast: false })
      const partial = yield* client(some.address)
      const empty = yield* client(none.address)
      const emptyPlain = yield* client(none.address, { fast: false })

      assert.deepStrictEqual(plain.heard(), [{ _tag: "Bitfield", bits: Uint8Array.of(0xf0) }])
      assert.deepStrictEqual(partial.heard(), [{ _tag: "Bitfield", bits: Uint8Array.of(0x50) }])
      assert.deepStrictEqual(empty.heard(), [{ _tag: "HaveNone" }])
      assert.deepStrictEqual(emptyPlain.heard(), [])
    })

    test("rejects what it cannot serve with BEP 6, and counts it", function* () {
      const fast = yield* unchoked({ pieces: [0, 1] })
      yield* fast.send(request(2), request(4), request(0, 0, 0), request(1, 16_385), request(0, 0, 131_073))

      assert.deepStrictEqual(fast.heard(), [
        reject(2),
        reject(4),
        reject(0, 0, 0),
        reject(1, 16_385),
        reject(0, 0, 131_073)
      ])
      assert.deepInclude(fast.counters, { requests: 5, badRequests: 5, blocks: 0, rejects: 5 })
    })

    test("ignores what it cannot serve without BEP 6", function* () {
      const plain = yield* unchoked({ pieces: [0] }, false)
      yield* plain.send(request(2), request(0))

      assert.deepStrictEqual(plain.heard(), [piece(0)])
    })

    test("rejects requests while it chokes", function* () {
      const peer = yield* ScriptedPeer.serve(options({}))
      const other = yield* client(peer.address)
      other.heard()
      yield* other.send(request(0))

      assert.deepStrictEqual(other.heard(), [reject(0)])
      assert.strictEqual(peer.counters.chokedRequests, 1)
    })

    test("serves many requests of one chunk, more than it queues", function* () {
      const { send, heard, counters } = yield* unchoked({})
      yield* send(...Array.from({ length: 5_000 }, (_, turn) => request(turn % 3, 0, 16)))
      yield* settle

      assert.deepStrictEqual(
        heard(),
        Array.from({ length: 5_000 }, (_, turn) => piece(turn % 3, 0, 16))
      )
      assert.strictEqual(counters.blocks, 5_000)
    })

    test("stops reading while too many requests wait, and continues when they are answered", function* () {
      const { send, counters } = yield* unchoked({ delay: "1 second" })

      for (let batch = 0; batch < 8; batch++) {
        yield* send(...Array.from({ length: 5_000 }, () => request(0, 0, 16)))
      }
      const waiting = counters.requests
      for (let second = 0; second < 30; second++) yield* pass("1 second")

      // A chunk of 32 KiB holds 1,927 requests at most.
      assert.isAtMost(waiting, 2_048 + 1_928)
      assert.deepInclude(counters, { requests: 40_000, blocks: 40_000 })
      assert.isAtMost(counters.longestQueue, 2_048 + 1_928)
    })

    test("answers the requests of a chunk in one batch", function* () {
      const { send, counters } = yield* unchoked({})
      yield* send(...Array.from({ length: 10 }, () => request(0, 0, 16)))

      // A chunk of the network may cut them once.
      assert.isAtLeast(counters.longestQueue, 5)
    })

    test("closes the connection after another torrent's handshake or a protocol error, and says why", function* () {
      const peer = yield* ScriptedPeer.serve(options({}))
      const stranger = yield* client(peer.address, { hash: new Uint8Array(20) as InfoHash })
      const broken = yield* client(peer.address)
      yield* broken.send({ _tag: "Unknown", id: 4, length: 1 })

      assert.isTrue(stranger.state.isClosed)
      assert.isUndefined(stranger.handshake())
      assert.isTrue(broken.state.isClosed)
      assert.deepStrictEqual(peer.counters.complaints, [
        "a handshake for another torrent",
        "a frame of id 4 and length 2"
      ])
      assert.strictEqual(peer.counters.openConnections, 0)
    })

    test("connects to a listening client, and sends its handshake first", function* () {
      const listening = yield* Listener.use((listener) => listener.listen({ host: "127.0.0.1", port: 7_000 }))
      const peer = ScriptedPeer.make(options({}))
      const heard: Array<number> = []
      yield* Effect.forkScoped(ScriptedPeer.connect(peer, listening.address))

      const connection = yield* listening.accept
      connection.receiveUnsafe((view) => {
        heard.push(...view)
        return true
      })
      yield* settle

      assert.strictEqual(heard.length, 68)
      assert.strictEqual(peer.counters.openConnections, 1)
    })

    test("closes everything with its scope", function* () {
      const scope = yield* Scope.make()
      const peer = yield* Scope.provide(ScriptedPeer.serve(options({ chokesEvery: "1 second" })), scope)
      const first = yield* client(peer.address)
      const second = yield* client(peer.address)
      yield* first.send({ _tag: "Interested" })

      yield* Scope.close(scope, Exit.void)
      yield* settle

      assert.isTrue(first.state.isClosed && second.state.isClosed)
      assert.deepInclude(peer.counters, { connections: 2, openConnections: 0 })
    })
  })

  describe("slow", () => {
    test("sends a block when its last byte has left at its rate", function* () {
      const { send, heard } = yield* unchoked({ bytesPerSecond: 16_384 })
      yield* send(request(0), request(1), request(2))

      yield* pass("999 millis")
      assert.strictEqual(heard().length, 0)
      yield* pass("1 millis")
      assert.deepStrictEqual(heard(), [piece(0)])
      yield* pass("2 seconds")
      assert.deepStrictEqual(heard(), [piece(1), piece(2)])
    })

    test("saves no rate for later: an idle peer does not send faster afterwards", function* () {
      const { send, heard } = yield* unchoked({ bytesPerSecond: 16_384 })
      yield* pass("1 minute")
      yield* send(request(0), request(1))

      yield* pass("1 seconds")
      assert.strictEqual(heard().length, 1)
      yield* pass("1 seconds")
      assert.strictEqual(heard().length, 1)
    })

    test("keeps its rate even if a block takes less than a millisecond", function* () {
      const { send, heard } = yield* unchoked({ bytesPerSecond: 64_000 })
      yield* send(...Array.from({ length: 1_000 }, () => request(0, 0, 16)))

      yield* pass("100 millis")

      assert.strictEqual(heard().length, 400)
    })

    test("answers each request a delay after it arrived, concurrently", function* () {
      const { send, heard } = yield* unchoked({ delay: "100 millis" })
      yield* send(request(0), request(1))
      yield* pass("60 millis")
      yield* send(request(2))

      yield* pass("40 millis")
      assert.deepStrictEqual(heard(), [piece(0), piece(1)])
      yield* pass("60 millis")
      assert.deepStrictEqual(heard(), [piece(2)])
    })

    test("drops a request that is cancelled in time, with a reject", function* () {
      const { send, heard, counters } = yield* unchoked({ delay: "1 second" })
      yield* send(request(0), request(1), { ...request(0), _tag: "Cancel" }, { ...request(3), _tag: "Cancel" })
      yield* pass("1 second")

      assert.deepStrictEqual(heard(), [reject(0), piece(1)])
      assert.deepInclude(counters, { cancels: 2, blocks: 1 })
    })

    test("fault 32: trickles its handshake a byte at a time", function* () {
      const peer = yield* ScriptedPeer.serve(options({ trickle: "1 second" }))
      const other = yield* client(peer.address)

      yield* pass("67 seconds")
      assert.strictEqual(other.state.bytes, 67)
      assert.isUndefined(other.handshake())
      yield* pass("1 second")
      assert.isDefined(other.handshake())
      assert.deepStrictEqual(other.heard(), [{ _tag: "HaveAll" }])
    })
  })

  describe("stalling", () => {
    test("stays silent from the start, or after the handshake, and keeps the connection", function* () {
      const mute = yield* ScriptedPeer.serve(options({ silent: "from the start" }))
      const shy = yield* ScriptedPeer.serve(options({ silent: "after the handshake" }))
      const first = yield* client(mute.address)
      const second = yield* client(shy.address)
      yield* second.send({ _tag: "Interested" }, request(0))
      yield* pass("1 minute")

      assert.deepStrictEqual([first.state.bytes, first.state.isClosed], [0, false])
      assert.deepStrictEqual([second.state.bytes, second.state.isClosed], [68, false])
      assert.deepInclude(shy.counters, { requests: 1, rejects: 0 })
    })

    test("fault 46: announces all pieces and answers nothing", function* () {
      const { send, heard, counters, state } = yield* unchoked({ stopsAfter: { blocks: 0, how: "stall" } })
      yield* send(request(0), request(1))
      yield* pass("1 minute")

      assert.deepStrictEqual(heard(), [])
      assert.isFalse(state.isClosed)
      assert.deepInclude(counters, { requests: 2, blocks: 0 })
    })

    test("answers a number of blocks and then stalls, or closes", function* () {
      const stalls = yield* unchoked({ stopsAfter: { blocks: 2, how: "stall" } })
      yield* stalls.send(request(0), request(1), request(2))
      const closes = yield* unchoked({ stopsAfter: { blocks: 2, how: "close" } })
      yield* closes.send(request(0), request(1), request(2))
      yield* pass("1 second")

      assert.deepStrictEqual(stalls.heard(), [piece(0), piece(1)])
      assert.isFalse(stalls.state.isClosed)
      assert.deepStrictEqual(closes.heard(), [piece(0), piece(1)])
      assert.isTrue(closes.state.isClosed)
    })

    test("never unchokes, or unchokes without interest", function* () {
      const never = yield* ScriptedPeer.serve(options({ unchokes: "never" }))
      const atOnce = yield* ScriptedPeer.serve(options({ unchokes: "at once" }))
      const first = yield* client(never.address)
      yield* first.send({ _tag: "Interested" })
      const second = yield* client(atOnce.address)

      assert.deepStrictEqual(tags(first.heard()), ["HaveAll"])
      assert.deepStrictEqual(tags(second.heard()), ["HaveAll", "Unchoke"])
    })

    test("fault 45: chokes and unchokes in turn, and drops the waiting requests", function* () {
      const { send, heard } = yield* unchoked({ chokesEvery: "100 millis", delay: "1 second" })
      yield* send(request(0), request(1))
      yield* pass("100 millis")
      const choked = heard()
      yield* pass("100 millis")
      yield* send(request(2))
      const again = heard()
      yield* pass("100 millis")

      assert.deepStrictEqual(choked, [{ _tag: "Choke" }, reject(0), reject(1)])
      assert.deepStrictEqual(again, [{ _tag: "Unchoke" }])
      assert.deepStrictEqual(heard(), [{ _tag: "Choke" }, reject(2)])
    })
  })

  describe("poisoning", () => {
    test("flips one bit in every block", function* () {
      const { send, heard, counters } = yield* unchoked({ corrupts: "every block" })
      yield* send(request(0), request(1), request(3, 16_384, 16_284))

      assert.deepStrictEqual(heard().map(wrongBits), [1, 1, 1])
      assert.strictEqual(counters.wrongBlocks, 3)
    })

    test("fault 43: flips a bit in the last block of a piece only", function* () {
      const { send, heard } = yield* unchoked({ corrupts: "last block" })
      yield* send(request(0), request(0, 16_384), request(0, 16_384, 100), request(3, 16_384, 16_284))

      assert.deepStrictEqual(heard().map(wrongBits), [0, 1, 0, 1])
    })

    test("flips a bit in chosen pieces, or chosen blocks", function* () {
      const pieces = yield* unchoked({ corrupts: { pieces: [1] } })
      yield* pieces.send(request(0), request(1), request(1, 16_384))
      const blocks = yield* unchoked({ corrupts: { blocks: [{ piece: 1, block: 1 }] } })
      yield* blocks.send(request(0, 16_384), request(1), request(1, 16_384))

      assert.deepStrictEqual(pieces.heard().map(wrongBits), [0, 1, 1])
      assert.deepStrictEqual(blocks.heard().map(wrongBits), [0, 0, 1])
    })

    test("does the same with the same seed, and something else with another", function* () {
      const run = Effect.fnUntraced(function* (seed: number) {
        const { send, heard } = yield* unchoked({ seed, corrupts: { probability: 0.3 } })
        yield* send(...Array.from({ length: 100 }, (_, turn) => request(turn % 4, 0, 1_000)))
        return heard()
      })

      const first = yield* run(7)
      const again = yield* run(7)
      const other = yield* run(8)

      assert.deepStrictEqual(again, first)
      assert.notDeepEqual(other, first)
      const wrong = first.filter((message) => wrongBits(message) === 1).length
      assert.isTrue(wrong > 10 && wrong < 60, `${wrong} of 100`)
    })
  })

  describe("breaking the protocol", () => {
    test("fault 29: answers every second request wrongly", function* () {
      const answers = Effect.fnUntraced(function* (how: NonNullable<PeerBehaviour["misanswers"]>["how"]) {
        const { send, heard, counters } = yield* unchoked({ misanswers: { how, every: 2 } })
        yield* send(request(0), request(1))
        assert.strictEqual(counters.wrongBlocks, 1)
        return heard()
      })
      const { block } = piece(1)

      assert.deepStrictEqual(yield* answers("unaligned"), [piece(0), { ...piece(1), begin: 1 }])
      assert.deepStrictEqual(yield* answers("short"), [piece(0), { ...piece(1), block: block.subarray(0, 16_383) }])
      assert.deepStrictEqual(yield* answers("long"), [piece(0), { ...piece(1), block: Uint8Array.from([...block, 0]) }])
      assert.deepStrictEqual(yield* answers("other piece"), [piece(0), { ...piece(1), index: 2 }])
      assert.deepStrictEqual(yield* answers("out of range"), [piece(0), { ...piece(1), index: 4 }])
      assert.deepStrictEqual(yield* answers("duplicate"), [piece(0), piece(1), piece(1)])
      const unrequested = yield* answers("unrequested")
      assert.deepStrictEqual(unrequested.slice(0, 2), [piece(0), piece(1)])
      assert.strictEqual(unrequested.length, 3)
      assert.strictEqual(wrongBits(unrequested[2]), 0)
    })

    test("fault 27: sends bitfields that no torrent of this size has", function* () {
      const greeting = Effect.fnUntraced(function* (announces: NonNullable<PeerBehaviour["announces"]>) {
        const peer = yield* ScriptedPeer.serve(options({ announces }))
        return (yield* client(peer.address)).heard()
      })
      const bitfield = (...bits: ReadonlyArray<number>) => ({ _tag: "Bitfield" as const, bits: Uint8Array.from(bits) })

      assert.deepStrictEqual(yield* greeting("bitfield"), [bitfield(0xf0)])
      assert.deepStrictEqual(yield* greeting("not at all"), [])
      assert.deepStrictEqual(yield* greeting("short bitfield"), [bitfield()])
      assert.deepStrictEqual(yield* greeting("long bitfield"), [bitfield(0xf0, 0)])
      assert.deepStrictEqual(yield* greeting("spare bit"), [bitfield(0xf1)])
      assert.deepStrictEqual(yield* greeting("twice"), [bitfield(0xf0), bitfield(0xf0)])
      assert.deepStrictEqual(yield* greeting("have out of range"), [bitfield(0xf0), { _tag: "Have", index: 4 }])
    })

    test("announces one piece after another, and serves only those that it announced", function* () {
      const { send, heard } = yield* unchoked({ announces: { every: "1 second" }, pieces: [1, 2] })
      yield* send(request(1))
      yield* pass("1 second")
      yield* send(request(2))
      yield* send(request(1))
      yield* pass("1 second")
      yield* pass("1 minute")

      assert.deepStrictEqual(heard(), [
        reject(1),
        { _tag: "Have", index: 1 },
        reject(2),
        piece(1),
        { _tag: "Have", index: 2 }
      ])
    })

    test("fault 32: names another torrent in its handshake", function* () {
      const peer = yield* ScriptedPeer.serve(options({ wrongInfoHash: true }))
      const other = yield* client(peer.address)

      assert.notDeepEqual(other.handshake()?.infoHash, infoHash)
    })

    test("fault 31: floods with requests while it is choked", function* () {
      const peer = yield* ScriptedPeer.serve(options({ floods: 1_000 }))
      const other = yield* client(peer.address)

      assert.strictEqual(tags(other.heard()).filter((tag) => tag === "Request").length, 1_000)
    })

    test("breaks the connection sooner or later", function* () {
      const { send, state, counters } = yield* unchoked({ disconnects: 0.1 })
      yield* send(...Array.from({ length: 200 }, () => request(0, 0, 16)))

      assert.isTrue(state.isClosed)
      assert.isBelow(counters.blocks, 200)
    })
  })

  describe("with an info dict", () => {
    /** Two pieces, of which the second is of 100 bytes. */
    const info = Uint8Array.from({ length: MetadataMessage.pieceLength + 100 }, (_, at) => at * 3)
    const theirId = 9

    /** A client that knows the extension, and the requests of which are answered by what it returns. */
    const asking = Effect.fnUntraced(function* (behaviour: PeerBehaviour) {
      const peer = yield* ScriptedPeer.serve({ ...options(behaviour), info })
      const other = yield* client(peer.address, { extensions: true })
      const offers = other.heard().flatMap((message) => (message._tag === "Extended" ? [message] : []))
      const ids = new Map([[MetadataMessage.extensionName, theirId]])
      yield* other.send({ _tag: "Extended", id: 0, payload: ExtensionHandshake.encode({ ids }) })
      const ask = Effect.fnUntraced(function* (...pieces: ReadonlyArray<number>) {
        for (const piece of pieces) {
          yield* other.send({ _tag: "Extended", id: 1, payload: MetadataMessage.encode({ _tag: "Request", piece }) })
        }
        return other.heard().map((message) => {
          assert(message._tag === "Extended" && message.id === theirId)
          return Result.getOrThrow(MetadataMessage.decode(message.payload))
        })
      })
      return { ask, counters: peer.counters, offers, state: other.state }
    })

    test("offers it, and sends its pieces although it chokes", function* () {
      const { ask, counters, offers } = yield* asking({ unchokes: "never" })

      const said = offers.map(({ id, payload }) => [id, Result.getOrThrow(ExtensionHandshake.decode(payload))] as const)
      assert.deepStrictEqual(
        said.map(([id, { ids, metadataSize }]) => [id, ids.get("ut_metadata"), metadataSize]),
        [[0, 1, info.length]]
      )
      assert.deepStrictEqual(yield* ask(1, 0, 2), [
        { _tag: "Data", piece: 1, totalSize: info.length, bytes: info.slice(MetadataMessage.pieceLength) },
        { _tag: "Data", piece: 0, totalSize: info.length, bytes: info.slice(0, MetadataMessage.pieceLength) },
        { _tag: "Reject", piece: 2 }
      ])
      assert.strictEqual(counters.metadataRequests, 3)
    })

    test("sends it four times at most, and ends the connection of one who requests without an end", function* () {
      const { ask, counters, state } = yield* asking({})

      const answers = yield* ask(...new Array<number>(9).fill(0))
      yield* ask(...new Array<number>(260).fill(7))

      assert.strictEqual(answers.filter(({ _tag }) => _tag === "Data").length, 8)
      assert.strictEqual(answers.at(-1)?._tag, "Reject")
      assert.isTrue(state.isClosed)
      assert.deepStrictEqual(counters.complaints, ["too many requests for metadata"])
    })

    test("rejects requests, or sends a wrong byte, if it shall", function* () {
      const { ask: reject } = yield* asking({ metadata: "rejected" })
      const { ask: lie } = yield* asking({ metadata: "wrong" })

      assert.deepStrictEqual(yield* reject(0), [{ _tag: "Reject", piece: 0 }])
      const [data] = yield* lie(0)
      assert(data?._tag === "Data")
      assert.strictEqual(data.bytes.filter((byte, at) => byte !== info[at]).length, 1)
    })

    test("offers nothing if it is silent, or one side does not speak BEP 10", function* () {
      const { offers: silent } = yield* asking({ silent: "after the handshake" })
      const { offers: without } = yield* asking({ features: { extensionProtocol: false } })
      const plain = yield* client((yield* ScriptedPeer.serve({ ...options({}), info })).address)

      assert.deepStrictEqual([silent, without], [[], []])
      assert.deepStrictEqual(tags(plain.heard()), ["HaveAll"])
    })
  })

  describe("of any behaviour", () => {
    it("keeps consistent counts, closes with its scope, and serves every block if it is honest", () =>
      fc.assert(
        fc.asyncProperty(PeerScript.peerScript(geometry), ({ behaviour, label }) => {
          const wanted = [0, 1, 2, 3].flatMap((index) =>
            index === 3 ? [request(3), request(3, 16_384, 16_284)] : [request(index), request(index, 16_384)]
          )
          return Effect.gen(function* () {
            const scope = yield* Scope.make()
            const peer = yield* Scope.provide(ScriptedPeer.serve(options(behaviour)), scope)
            const other = yield* client(peer.address)
            yield* other.send({ _tag: "Interested" })
            // A choke drops requests, and the client sends them again.
            for (let minute = 0; minute < 20; minute++) {
              const got = new Set(
                other.messages.filter((one) => one._tag === "Piece").map((one) => `${one.index} ${one.begin}`)
              )
              const left = wanted.filter(({ index, begin }) => !got.has(`${index} ${begin}`))
              if (!other.state.isClosed) yield* other.send(...left.slice(0, 1))
              yield* pass("10 seconds")
            }
            const { counters } = peer
            yield* Scope.close(scope, Exit.void)
            yield* settle

            const pieces = other.messages.filter((message) => message._tag === "Piece")
            assert.isAtMost(counters.wrongBlocks, counters.blocks)
            assert.isAtMost(pieces.length, counters.blocks)
            assert.isAtMost(counters.handshakes, counters.connections)
            assert.strictEqual(counters.openConnections, 0)
            assert.deepStrictEqual(counters.complaints, [])
            assert.isTrue(other.state.isClosed)
            if (label === "honest") {
              assert.strictEqual(counters.wrongBlocks, 0)
              assert.deepStrictEqual(
                new Set(pieces.map(({ index, begin }) => `${index} ${begin}`)),
                new Set(wanted.map(({ index, begin }) => `${index} ${begin}`))
              )
              assert.isTrue(pieces.every((message) => wrongBits(message) === 0))
            }
          }).pipe(
            Effect.scoped,
            Effect.provide(Layer.provideMerge(MemoryNetwork.layer(), TestClock.layer())),
            Effect.runPromise
          )
        }),
        { numRuns: 40 }
      ))
  })
})
