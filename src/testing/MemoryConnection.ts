/**
 * The two ends of a simulated connection, and the links their bytes travel over. Plain state driven by a `Timeline`.
 *
 * Written bytes wait in the writer's send buffer, are cut into chunks at random places once the window has room, spend
 * the link's transmission time and latency, and wait at the other end until its sink accepts them; only then does the
 * window open again. Views passed to a sink are in one scratch buffer, at changing offsets, and are overwritten when
 * the sink returns, so a kept view or a forgotten `byteOffset` shows at once.
 *
 * `MemoryNetwork.ts` decides which hosts may connect, and partitions the network.
 */
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as Prng from "../base/Prng.ts"
import type { Connection, Sink } from "../network/Transport.ts"
import { ConnectionError } from "../network/Transport.ts"
import type { Timeline } from "./Timeline.ts"

/** One direction between two hosts; connections between them share its bandwidth. */
export interface Link {
  readonly from: string
  readonly to: string
  latencyMillis: number
  /** `undefined`: no limit. */
  bytesPerSecond: number | undefined
  /** When the last byte passed to the link has left; milliseconds. */
  busyUntil: number
  /** What arrived while the link was interrupted, in order. */
  readonly held: Array<() => void>
}

/** What both ends of every connection of a network share. */
export interface Medium {
  readonly timeline: Timeline
  readonly isInterrupted: (link: Link) => boolean
  /** Draws the length of the next chunk, from 1 to `scratchBytes - maxOffset`. */
  readonly chunkBytes: (random: Prng.Prng) => number
  /** The reused read buffer. */
  readonly scratch: Uint8Array
  readonly sendBufferBytes: number
  readonly windowBytes: number
}

/** Largest offset of a view in the scratch buffer. */
export const maxOffset = 63

/** The content of a view once its sink has returned. */
export const overwritten = 0xdb

/** Keeps what one sender sends in order, even if the link's latency is lowered on the way. */
export interface Lane {
  readonly link: Link
  lastArrival: number
}

/** Sends `bytes` bytes over `lane`, and runs `arrive` at the other side; not before an interrupted link is restored. */
export const carry = (medium: Medium, lane: Lane, bytes: number, arrive: () => void): void => {
  const link = lane.link
  let departure = medium.timeline.nowUnsafe()
  if (link.bytesPerSecond !== undefined) {
    departure = Math.max(departure, link.busyUntil) + (bytes / link.bytesPerSecond) * 1000
    link.busyUntil = departure
  }
  const arrival = Math.max(lane.lastArrival, departure + link.latencyMillis)
  lane.lastArrival = arrival
  const land = () => {
    if (medium.isInterrupted(link)) link.held.push(land)
    else arrive()
  }
  medium.timeline.scheduleUnsafe(arrival, land)
}

/** One end of a connection, as the network and the connection's owner see it. */
export interface End {
  readonly connection: Connection
  /** Closes this end: what is under way still arrives, then the other end closes. Idempotent. */
  readonly closeUnsafe: () => void
  /** Breaks this end with `why`, as a reset does; the other end learns nothing. */
  readonly breakUnsafe: (why: string) => void
}

interface Side extends End {
  /** `undefined` is the end of the stream. */
  readonly arriveUnsafe: (chunk: Uint8Array | undefined) => void
  /** The other end has accepted `bytes` bytes, or dropped them. */
  readonly creditUnsafe: (bytes: number) => void
}

/** Two connected ends; the first is at `left`, and reaches the second over `toRight`. */
export const makePair = (
  medium: Medium,
  options: {
    readonly left: PeerAddress
    readonly right: PeerAddress
    readonly toRight: Link
    readonly toLeft: Link
    readonly randoms: readonly [Prng.Prng, Prng.Prng]
  }
): readonly [End, End] => {
  const left: Side = makeSide(medium, options.right, options.toRight, options.randoms[0], () => right)
  const right: Side = makeSide(medium, options.left, options.toLeft, options.randoms[1], () => left)
  return [left, right]
}

const makeSide = (medium: Medium, remote: PeerAddress, outgoing: Link, random: Prng.Prng, other: () => Side): Side => {
  const { scheduleUnsafe, nowUnsafe } = medium.timeline
  const lane: Lane = { link: outgoing, lastArrival: 0 }
  const closed = Deferred.makeUnsafe<void, ConnectionError>()
  const writable = Latch.makeUnsafe(true)
  let isOpen = true

  // Sending: written bytes that have not left, and how many have left without being accepted.
  const written: Array<Uint8Array> = []
  let writtenBytes = 0
  let inFlightBytes = 0
  let sending = false

  // Receiving: chunks that arrived and wait for the sink; `undefined` is the end of the stream.
  const arrived: Array<Uint8Array | undefined> = []
  let sink: Sink | undefined
  let paused = false

  const finish = (exit: Exit.Exit<void, ConnectionError>) => {
    isOpen = false
    written.length = 0
    writtenBytes = 0
    for (const chunk of arrived.splice(0)) other().creditUnsafe(chunk?.length ?? 0)
    writable.openUnsafe()
    // Last: a fiber that waits for it continues inside this call.
    Deferred.doneUnsafe(closed, exit)
  }

  const startSending = () => {
    if (sending || writtenBytes === 0 || inFlightBytes >= medium.windowBytes) return
    sending = true
    scheduleUnsafe(nowUnsafe(), send)
  }

  const send = () => {
    sending = false
    while (writtenBytes > 0 && inFlightBytes < medium.windowBytes) {
      const length = Math.min(medium.chunkBytes(random), writtenBytes, medium.windowBytes - inFlightBytes)
      const chunk = takeBytes(written, length)
      writtenBytes -= length
      inFlightBytes += length
      carry(medium, lane, length, () => other().arriveUnsafe(chunk))
    }
    if (writtenBytes < medium.sendBufferBytes) writable.openUnsafe()
  }

  const give = (chunk: Uint8Array) => {
    const offset = Prng.between(random, 0, maxOffset)
    const view = medium.scratch.subarray(offset, offset + chunk.length)
    view.set(chunk)
    try {
      if (!sink!(view)) paused = true
    } catch (defect) {
      close(Exit.die(defect))
    }
    view.fill(overwritten)
    other().creditUnsafe(chunk.length)
  }

  const receive = () => {
    while (isOpen && sink !== undefined && !paused && arrived.length > 0) {
      const chunk = arrived.shift()
      if (chunk === undefined) finish(Exit.void)
      else give(chunk)
    }
  }

  const close = (exit: Exit.Exit<void, ConnectionError>) => {
    if (!isOpen) return
    // As TCP does: closing over bytes that were not read resets the connection.
    const isReset = arrived.some((chunk) => chunk !== undefined)
    carry(medium, lane, 0, () => {
      if (isReset) other().breakUnsafe("connection reset")
      else other().arriveUnsafe(undefined)
    })
    finish(exit)
  }

  return {
    connection: {
      remote,
      receiveUnsafe: (receiver) => {
        if (sink !== undefined) throw new Error("receiveUnsafe was called twice")
        sink = receiver
        scheduleUnsafe(nowUnsafe(), receive)
      },
      resumeUnsafe: () => {
        if (!paused) return
        paused = false
        scheduleUnsafe(nowUnsafe(), receive)
      },
      writeUnsafe: (bytes) => {
        if (!isOpen) return false
        if (bytes.length > 0) {
          written.push(bytes)
          writtenBytes += bytes.length
          startSending()
        }
        if (writtenBytes < medium.sendBufferBytes) return true
        writable.closeUnsafe()
        return false
      },
      drained: writable.await,
      closed: Deferred.await(closed)
    },
    closeUnsafe: () => close(Exit.void),
    breakUnsafe: (why) => {
      if (isOpen) finish(Exit.fail(new ConnectionError({ address: remote, why })))
    },
    arriveUnsafe: (chunk) => {
      if (isOpen) {
        arrived.push(chunk)
        receive()
      } else {
        other().creditUnsafe(chunk?.length ?? 0)
      }
    },
    creditUnsafe: (bytes) => {
      inFlightBytes -= bytes
      startSending()
    }
  }
}

/** Removes the first `length` bytes of `queue` and returns them. */
const takeBytes = (queue: Array<Uint8Array>, length: number): Uint8Array => {
  const taken = new Uint8Array(length)
  let filled = 0
  while (filled < length) {
    const head = queue[0]!
    const part = head.subarray(0, length - filled)
    taken.set(part, filled)
    filled += part.length
    if (part.length === head.length) queue.shift()
    else queue[0] = head.subarray(part.length)
  }
  return taken
}
