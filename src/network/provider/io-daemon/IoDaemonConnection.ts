/**
 * A TCP connection of the io-daemon: the flow of its bytes both ways. Hot path: once per frame of up to 64 KiB.
 *
 * The daemon reads from the remote only what it was granted: nothing before there is a sink, then a window of
 * `receiveWindowBytes`. Received bytes are granted again, in batches. While the sink returns `false`, bytes that were
 * granted before still arrive, wait here, and are passed on before newer ones. The daemon grants a window for sending
 * too: what does not fit waits here.
 *
 * Views passed to a sink are in the message that they arrived in: incoming bytes are not copied. Measured with Node 24,
 * receiving costs 23 to 30 us of CPU per 16 KiB, nearly all of it in Node's WebSocket, and 10 us in the daemon.
 */
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as MutableList from "effect/MutableList"
import type { PeerAddress } from "../../../base/PeerAddress.ts"
import type { Incoming } from "../../AcceptQueue.ts"
import * as SocketErrno from "../../SocketErrno.ts"
import type { Sink } from "../../Transport.ts"
import type { Opening, Session } from "./IoDaemonSession.ts"
import { SocketFrameError } from "./IoDaemonSocketCodec.ts"
import * as IoDaemonSocketLife from "./IoDaemonSocketLife.ts"

/**
 * Bytes that the daemon may send ahead of a sink: the most that a connection holds while its sink returns `false`, so
 * that 200 of them hold 50 MiB. Measured with Node 24, receiving 1 GiB over one connection: 128 KiB reach three
 * quarters of the speed, 1 MiB the same, 4 MiB an eighth more; the cost hardly differs.
 */
export const receiveWindowBytes = 262_144

/** So many received bytes are granted again at once. */
export const creditBatchBytes = receiveWindowBytes / 4

/** Bytes that the daemon accepts for a connection before it has written any of them. */
export const sendWindowBytes = 262_144

/** A connection that was dialled, or that arrived; for the latter no frame says that it is open. */
export interface DaemonConnection extends Incoming, Opening {}

/** The connection `id` of `session`, to or from `remote`. Closing it sends a frame to the daemon. */
export const makeUnsafe = (session: Session, id: number, remote: PeerAddress): DaemonConnection => {
  const writable = Latch.makeUnsafe(true)
  let sink: Sink | undefined
  /** Called before there is a sink too. */
  let isPaused = true
  let isResuming = false
  let remoteHasClosed = false
  let grantedBytes = 0
  let takenBytes = 0
  /**
   * Received during a pause. A list, because a window of short frames is long, and an array shifts all that is left.
   */
  const kept = MutableList.make<Uint8Array>()

  let windowBytes = sendWindowBytes
  const waiting = MutableList.make<Uint8Array>()

  const life = IoDaemonSocketLife.makeUnsafe(session, id, remote, () => {
    MutableList.clear(kept)
    MutableList.clear(waiting)
    writable.openUnsafe()
  })

  const grant = (bytes: number) => {
    grantedBytes += bytes
    session.sendUnsafe({ _tag: "Credit", id, bytes })
  }

  const give = (view: Uint8Array) => {
    takenBytes += view.length
    try {
      isPaused = !sink!(view)
    } catch (defect) {
      life.close(Exit.die(defect))
    }
  }

  /** After the sink received something, or was resumed. */
  const goOn = () => {
    if (!life.isOpen || isPaused) return
    if (remoteHasClosed) return life.finish(Exit.void)
    if (takenBytes < creditBatchBytes) return
    grant(takenBytes)
    takenBytes = 0
  }

  const resume = () => {
    isResuming = false
    isPaused = false
    while (life.isOpen && !isPaused && kept.length > 0) give(MutableList.take(kept) as Uint8Array)
    goOn()
  }

  /** Not at once: a sink is never called inside a call of its owner. */
  const resumeSoon = () => {
    if (!isPaused || isResuming) return
    isResuming = true
    queueMicrotask(resume)
  }

  const flush = () => {
    while (waiting.length > 0 && windowBytes > 0) {
      const head = MutableList.take(waiting) as Uint8Array
      const bytes = head.length <= windowBytes ? head : head.subarray(0, windowBytes)
      if (bytes.length < head.length) MutableList.prepend(waiting, head.subarray(bytes.length))
      windowBytes -= bytes.length
      session.sendUnsafe({ _tag: "Data", id, bytes })
    }
  }

  session.addUnsafe(id, {
    receiveUnsafe: (frame) => {
      switch (frame._tag) {
        case "Data":
          grantedBytes -= frame.bytes.length
          if (grantedBytes < 0) throw new SocketFrameError({ why: "bytes that it was not asked for" })
          if (isPaused) {
            if (frame.bytes.length > 0) MutableList.append(kept, frame.bytes)
            return
          }
          give(frame.bytes)
          return goOn()
        case "Credit":
          windowBytes += frame.bytes
          flush()
          if (waiting.length === 0) writable.openUnsafe()
          return
        case "Opened":
          return Deferred.doneUnsafe(life.opened, Exit.succeed(frame.address))
        case "Failed":
          return life.fail(SocketErrno.why(frame.code), frame.code)
        case "Closed":
          if (frame.code !== "") return life.fail(SocketErrno.why(frame.code), frame.code)
          remoteHasClosed = true
          return goOn()
        default:
          throw new SocketFrameError({ why: `${frame._tag} for a connection` })
      }
    },
    breakUnsafe: life.fail
  })
  return {
    opened: Deferred.await(life.opened),
    connection: {
      remote,
      receiveUnsafe: (receiver) => {
        if (sink !== undefined) throw new Error("receiveUnsafe was called twice")
        sink = receiver
        if (life.isOpen) grant(receiveWindowBytes)
        resumeSoon()
      },
      resumeUnsafe: () => {
        if (sink !== undefined) resumeSoon()
      },
      writeUnsafe: (bytes) => {
        if (!life.isOpen) return false
        if (bytes.length > 0) MutableList.append(waiting, bytes)
        flush()
        if (waiting.length === 0) return true
        writable.closeUnsafe()
        return false
      },
      drained: writable.await,
      closed: Deferred.await(life.closed)
    },
    closeUnsafe: () => life.close(Exit.void)
  }
}
