/**
 * A small torrent that is downloaded without a network: real protocols and a real assembly over a medium in memory that
 * can be made to fail. The peers do what a test makes them do. What the wire has seen is kept as a model, and `check`
 * compares it with everything that the engine says of itself.
 */
import * as Crypto from "node:crypto"
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as Completion from "../../src/assembly/Completion.ts"
import * as Facts from "../../src/assembly/Facts.ts"
import * as PiecePicker from "../../src/assembly/PiecePicker.ts"
import type { PiecePriority } from "../../src/assembly/PiecePriority.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as PeerPatience from "../../src/peer/PeerPatience.ts"
import * as PeerPieces from "../../src/peer/PeerPieces.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import * as Overtaking from "../../src/supply/Overtaking.ts"
import type { SupplierId } from "../../src/supply/SupplierId.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { WireError } from "../../src/wire/WireError.ts"
import * as Uploads from "../peer/uploads.ts"
import { openToWrite } from "../storage/openings.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { blockLength, contentOf, freeCount, geometryOf, piece } from "./pieces.ts"

/** Five pieces of three blocks; the last one has a block and 100 bytes. */
export const geometry = geometryOf(5, 3, blockLength + 100)
const pieces = Array.from({ length: geometry.pieceCount }, (_, index) => piece(index))
const contents = pieces.map((index) => contentOf(geometry, index))
const digest = (algorithm: string, bytes: Uint8Array) => new Uint8Array(Crypto.hash(algorithm, bytes, "buffer"))
const digests = contents.map((bytes) => digest("sha1", bytes))
const layout = FileLayout.make({
  pieceLength: geometry.pieceLength,
  files: [{ path: ["t"], length: geometry.totalLength, padding: false }]
})

/** Digests at once, so that a script always does the same. */
export const hasher = Layer.succeed(
  PieceHasher,
  PieceHasher.of({
    sha1: (bytes) => Effect.sync(() => digest("sha1", bytes)),
    sha256: (bytes) => Effect.sync(() => digest("sha256", bytes))
  })
)

/** A peer, as a test sees it. */
export interface Peer {
  readonly id: SupplierId
  readonly isLiar: boolean
  readonly has: Bitfield.Bitfield
  readonly protocol: PeerProtocol.PeerProtocol
  /** Requests that it has not answered, as `piece:block`: the model of its pipeline. */
  readonly out: Set<string>
  /** Requests that were cancelled, the last one at the end. */
  readonly cancelled: Array<string>
  /** The second half of a block whose first half it has sent. It answers no request if its request was cancelled. */
  rest: { readonly bytes: Uint8Array; readonly name: string; isAsked: boolean } | undefined
  isAwake: boolean
}

/** How a peer answers. */
export type Answer = "right" | "wrong" | "half"

const nameOf = (index: number, begin: number) => `${index}:${begin / blockLength}`

/** Whether a step of a protocol ends its session. Rethrows errors that are no fault of the peer. */
const isOver = (step: () => void): boolean => {
  try {
    step()
    return false
  } catch (error) {
    if (error instanceof PeerPatience.PeerDropped || error instanceof WireError) return true
    throw error
  }
}

/** A swarm and its torrent, until the scope closes. */
export const make = Effect.fnUntraced(function* (cap: number) {
  const storage = yield* openToWrite(layout)
  const faults = yield* FaultyStorage.StorageFaults
  const medium = yield* MemoryStorage.MemoryMedium
  const ledger = yield* BufferBudget.BufferBudget
  const stored = Bitfield.make(geometry.pieceCount)
  const assembly = yield* Assembly.make({ geometry, stored, random: Prng.make(1), maxActivePieces: cap })
  const neighbour = yield* BufferPool.make(geometry, { maxActivePieces: cap })
  const peers: Array<Peer> = []
  const facts: Array<string> = []
  const guilty: Array<SupplierId> = []
  let ids = 0

  const digestOf = (piece: PieceIndex) => digests[piece]!
  yield* Facts.read(assembly.facts, (fact) => {
    facts.push(fact._tag === "Recovered" ? fact._tag : `${fact._tag} ${fact.piece}`)
    if (fact._tag === "Guilty") guilty.push(fact.supplier)
  })
  yield* Completion.run(assembly, { storage, digestOf })
  yield* Assembly.sweep(assembly)
  yield* BufferPool.sweep(neighbour)

  /** Uninterruptible, because a session ends its protocol in a finalizer. */
  const leave = Effect.fnUntraced(function* (peer: Peer) {
    const at = peers.indexOf(peer)
    if (at < 0) return
    peers.splice(at, 1)
    yield* PeerProtocol.close(peer.protocol)
  }, Effect.uninterruptible)

  const ban = Effect.gen(function* () {
    for (const id of guilty.splice(0)) {
      const peer = peers.find((peer) => peer.id === id)
      if (peer === undefined) continue
      assert.isTrue(peer.isLiar, `an honest peer was found guilty: ${facts.join(", ")}`)
      yield* leave(peer)
    }
  })

  const listen = (peer: Peer): void => {
    const decoder = FrameDecoder.make({
      ...FrameDecoder.ignoreAll,
      request: (index, begin) => {
        const home = assembly.pool.loans.get(piece(index))
        assert.isTrue(home?.buffer.isOpen, `${nameOf(index, begin)} was requested without a home`)
        assert.isFalse(peer.out.has(nameOf(index, begin)), `${nameOf(index, begin)} was requested twice`)
        peer.out.add(nameOf(index, begin))
      },
      cancel: (index, begin) => {
        if (peer.out.delete(nameOf(index, begin))) peer.cancelled.push(nameOf(index, begin))
        if (peer.rest?.name === nameOf(index, begin)) peer.rest.isAsked = false
      }
    })
    FrameDecoder.push(decoder, FrameEncoder.take(peer.protocol.outbox))
  }

  const refill = Effect.fnUntraced(function* (peer: Peer) {
    peer.isAwake = false
    Requests.refill(assembly, peer.protocol, yield* Clock.currentTimeMillis)
    if (peer.protocol.pipeline.requests.size === 0) PeerPieces.updateInterest(peer.protocol)
    listen(peer)
  })

  /** Runs everything that can run now. */
  const settle = Effect.gen(function* () {
    let isBusy = true
    while (isBusy) {
      isBusy = false
      for (const peer of [...peers]) {
        if (!peer.isAwake) continue
        isBusy = true
        yield* refill(peer)
      }
      const before = facts.length
      const waiting = assembly.completed.waiting.length
      for (let turn = 0; turn < 8; turn++) yield* Effect.yieldNow
      yield* ban
      if (facts.length > before || assembly.completed.waiting.length < waiting) isBusy = true
    }
  })

  /** Receives bytes of a peer. Bytes that break the protocol end its session. */
  const receive = Effect.fnUntraced(function* (peer: Peer, bytes: Uint8Array) {
    const now = yield* Clock.currentTimeMillis
    peer.isAwake = true
    if (isOver(() => PeerProtocol.receive(peer.protocol, bytes, now))) yield* leave(peer)
  })

  const say = Effect.fnUntraced(function* (peer: Peer, write: (encoder: FrameEncoder.FrameEncoder) => void) {
    const encoder = FrameEncoder.make()
    if (peer.rest !== undefined) {
      FrameEncoder.raw(encoder, peer.rest.bytes)
      if (peer.rest.isAsked) peer.out.delete(peer.rest.name)
      peer.rest = undefined
    }
    write(encoder)
    yield* receive(peer, FrameEncoder.take(encoder))
  })

  const join = Effect.fnUntraced(function* (options: {
    readonly isLiar: boolean
    readonly isFast: boolean
    readonly pieces: ReadonlyArray<number>
  }) {
    const has = Bitfield.make(geometry.pieceCount)
    for (const index of options.pieces) Bitfield.add(has, index)
    const id = idOf(ids++)
    const peer: Peer = {
      id,
      isLiar: options.isLiar,
      has,
      protocol: PeerProtocol.make({
        assembly,
        upload: Uploads.make(geometry),
        id,
        isFast: options.isFast,
        wake: () => {
          peer.isAwake = true
        },
        serve: () => {},
        interestChanged: () => {},
        now: yield* Clock.currentTimeMillis
      }),
      out: new Set(),
      cancelled: [],
      rest: undefined,
      isAwake: false
    }
    peers.push(peer)
    yield* say(peer, (encoder) => FrameEncoder.bitfield(encoder, has.bytes))
    return peer
  })

  const frameOf = (name: string, how: Answer): Uint8Array => {
    const [index, block] = name.split(":").map(Number) as [number, number]
    const right = contents[index]!.subarray(block * blockLength, (block + 1) * blockLength)
    const encoder = FrameEncoder.make()
    FrameEncoder.piece(encoder, index, block * blockLength, how === "wrong" ? right.map((byte) => byte ^ 0x55) : right)
    return FrameEncoder.take(encoder)
  }

  /** Answers the oldest requests of a peer. Half an answer stays half until the peer sends something else. */
  const serve = Effect.fnUntraced(function* (peer: Peer, count: number, how: Answer) {
    for (const name of [...peer.out].slice(0, count)) {
      if (!peer.out.has(name) || !peers.includes(peer)) continue
      const bytes = frameOf(name, how)
      if (how === "half") {
        const half = bytes.length >>> 1
        yield* say(peer, (encoder) => FrameEncoder.raw(encoder, bytes.subarray(0, half)))
        // The rest of an earlier half may just have answered the same request, so that nobody asks for this one.
        peer.rest = { bytes: bytes.subarray(half), name, isAsked: peer.out.has(name) }
      } else {
        yield* say(peer, (encoder) => {
          peer.out.delete(name)
          FrameEncoder.raw(encoder, bytes)
        })
      }
    }
  })

  /** Sends a block that was not requested, or is not any more. */
  const push = (peer: Peer, name: string) =>
    say(peer, (encoder) => {
      peer.out.delete(name)
      FrameEncoder.raw(encoder, frameOf(name, "right"))
    })

  const choke = (peer: Peer) =>
    say(peer, (encoder) => {
      FrameEncoder.choke(encoder)
      if (!peer.protocol.isFast) peer.out.clear()
    })

  const reject = (peer: Peer, count: number) =>
    say(peer, (encoder) => {
      if (!peer.protocol.isFast) return
      for (const name of [...peer.out].slice(0, count)) {
        const [index, block] = name.split(":").map(Number) as [number, number]
        const size = PieceGeometry.blockSize(PieceGeometry.pieceSize(geometry, piece(index)), block)
        FrameEncoder.reject(encoder, index, block * blockLength, size)
        peer.out.delete(name)
      }
    })

  /** Lets time pass, with what the swarm's ticker does every second. */
  const advance = Effect.fnUntraced(function* (seconds: number) {
    for (let left = seconds; left > 0; left--) {
      yield* TestClock.adjust("1 second")
      const now = yield* Clock.currentTimeMillis
      Assembly.tick(assembly, now)
      for (const peer of [...peers]) {
        let isFreed = false
        const isLost = isOver(() => {
          isFreed = PeerProtocol.tick(peer.protocol, now)
        })
        if (isLost) yield* leave(peer)
        if (!isFreed) continue
        yield* Assembly.abandon(assembly, peer.protocol)
        Assembly.wakeIdle(assembly)
      }
      Requests.wakeOvertakers(assembly, now)
      yield* settle
    }
  })

  /** Checks everything that always holds. */
  const check = (): void => {
    const { picker, pool, table } = assembly
    for (const each of [pool, neighbour]) {
      assert.strictEqual(freeCount(each) + BufferPool.lentCount(each), each.capacity)
    }
    const held = [...ledger.accounts].reduce((sum, account) => sum + account.held * account.bufferBytes, 0)
    assert.strictEqual(ledger.heldBytes, held)
    assert.isAtMost(held, ledger.totalBytes)

    const counts = { missing: 0, active: 0, complete: 0, verified: 0, stored: 0 }
    for (const index of pieces) {
      const state = PieceTable.stateOf(table, index)
      counts[state]++
      const hasBuffer = pool.loans.has(index)
      assert.strictEqual(hasBuffer, state !== "missing" && state !== "stored", `piece ${index} is ${state}`)
      const isCandidate = PiecePicker.isCandidate(picker, index)
      const isWanted = Bitfield.has(table.wanted, index)
      const isWaiting =
        Assembly.distrustOf(assembly).delayed.has(index) || Assembly.distrustOf(assembly).withheld.has(index)
      const mayStart = isWanted && state === "missing" && !isWaiting
      assert.strictEqual(isCandidate, mayStart, `piece ${index} is ${state}`)
      assert.strictEqual(Bitfield.has(table.stored, index), state === "stored")
      const holders = peers.filter((peer) => !peer.protocol.isSeed && Bitfield.has(peer.has, index)).length
      assert.strictEqual(picker.availability[index], holders)
    }
    assert.deepStrictEqual(table.counts, counts)
    const unstored = pieces.filter((index) => Bitfield.has(table.wanted, index) && !Bitfield.has(table.stored, index))
    assert.strictEqual(table.unstoredWanted, unstored.length)
    for (const { has, protocol } of peers) {
      assert.strictEqual(protocol.interesting, unstored.filter((index) => Bitfield.has(has, index)).length)
    }

    const requests = new Map<string, number>()
    for (const peer of peers) {
      const inside = [...peer.protocol.pipeline.requests.values()].map((request) => {
        assert.strictEqual(pool.loans.get(request.buffer.piece)?.buffer, request.buffer)
        return `${request.buffer.piece}:${request.block}`
      })
      assert.deepStrictEqual(inside.sort(), [...peer.out].sort(), `requests of peer ${peer.id}`)
      for (const name of inside) requests.set(name, (requests.get(name) ?? 0) + 1)
    }
    for (const { buffer } of pool.loans.values()) {
      let free = 0
      for (let block = 0; block < buffer.blockCount; block++) {
        const count = requests.get(`${buffer.piece}:${block}`) ?? 0
        assert.strictEqual(buffer.requests[block], count, `requests for ${buffer.piece}:${block}`)
        assert.isAtMost(count, Overtaking.maxRequestsPerBlock)
        if (count > 0) assert.isFalse(Bitfield.has(buffer.received, block))
        else if (!Bitfield.has(buffer.received, block)) free++
      }
      assert.strictEqual(buffer.freeBlocks, free)
      assert.strictEqual(pool.partial.has(buffer), free > 0)
    }
    const written = medium.torrent(layout)
    for (const index of pieces) {
      assert.strictEqual(written.writes(index) > 0, PieceTable.stateOf(table, index) === "stored")
    }
  }

  /** Sets priorities, and sends peers what follows for our interest. */
  const prioritise = (priorities: ReadonlyArray<PiecePriority>) =>
    Effect.sync(() => {
      Assembly.setPriorities(assembly, priorities)
      for (const { protocol } of peers) {
        PeerPieces.updateInterest(protocol)
        protocol.wake()
      }
    })

  /** Has an owner need these pieces, so many seconds from now. */
  const due = (owner: object, seconds: ReadonlyArray<readonly [piece: number, within: number]>) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const deadlines = seconds.map(([index, within]) => ({ piece: piece(index), at: now + within * 1_000 }))
      Assembly.setDeadlines(assembly, owner, deadlines)
      for (const { protocol } of peers) protocol.wake()
    })

  /**
   * Brings the download to its end: every piece is wanted, the storage is healthy again, one honest peer joins, and the
   * other peers send nothing more.
   */
  const finish = Effect.gen(function* () {
    yield* prioritise(pieces.map(() => "normal"))
    faults.recover()
    for (const index of [...neighbour.loans.keys()]) yield* BufferPool.close(neighbour, index)
    const honest = yield* join({ isLiar: false, isFast: true, pieces: pieces })
    yield* say(honest, FrameEncoder.unchoke)
    yield* settle
    // The longest wait is that of a piece that failed several times. Each liar can make it fail once.
    for (let second = 0; second < 900 && !PieceTable.isComplete(assembly.table); second++) {
      while (honest.out.size > 0) {
        yield* serve(honest, honest.out.size, "right")
        yield* settle
        check()
      }
      yield* advance(1)
    }
    check()
    assert.isTrue(PieceTable.isComplete(assembly.table), `not finished: ${facts.join(", ")}`)
    assert.strictEqual(freeCount(assembly.pool), assembly.pool.capacity)
    const file = medium.torrent(layout).file("t")!
    for (const index of pieces) {
      const begin = PieceGeometry.pieceOffset(geometry, index)
      assert.deepStrictEqual(digest("sha1", file.subarray(begin, begin + contents[index]!.length)), digests[index])
      assert.strictEqual(medium.torrent(layout).writes(index), 1)
    }
  })

  const lendToNeighbour = (index: PieceIndex) => Effect.sync(() => BufferPool.lendNow(neighbour, index))
  const takeFromNeighbour = (index: PieceIndex) => BufferPool.close(neighbour, index)

  return {
    assembly,
    ledger,
    peers,
    facts,
    faults,
    /** How often the medium has stored a piece. */
    writesOf: (index: PieceIndex) => medium.torrent(layout).writes(index),
    join,
    leave,
    say,
    serve,
    push,
    choke,
    reject,
    advance,
    settle,
    check,
    prioritise,
    due,
    finish,
    lendToNeighbour,
    takeFromNeighbour
  }
})

type Made = Effect.Success<ReturnType<typeof make>>

/** The swarm of a test. */
export class TestSwarm extends Context.Service<TestSwarm, Made>()("test/assembly/TestSwarm") {}

/** What a swarm needs: a budget of `buffers` pieces, a hasher, and a medium in memory that can be made to fail. */
export const world = (buffers: number, storage?: MemoryStorage.MemoryStorageOptions) =>
  Layer.mergeAll(
    BufferBudget.layer(buffers * geometry.pieceLength),
    Layer.provideMerge(FaultyStorage.layer(), MemoryStorage.layerTest(storage))
  ).pipe(Layer.provideMerge(hasher))

/** A swarm with at most `cap` active pieces. When the scope closes, a script that held is brought to its end. */
export const layer = (cap: number, buffers: number, storage?: MemoryStorage.MemoryStorageOptions) =>
  Layer.effect(
    TestSwarm,
    Effect.gen(function* () {
      // Its own scope, because the scopes of layers close at the same time, and the end of a script needs its fibers.
      const scope = yield* Scope.make()
      const swarm = yield* Scope.provide(make(cap), scope)
      yield* Effect.addFinalizer((exit) =>
        Effect.ensuring(Exit.isSuccess(exit) ? swarm.finish : Effect.void, Scope.close(scope, exit))
      )
      return TestSwarm.of(swarm)
    })
  ).pipe(Layer.provide(world(buffers, storage)))
