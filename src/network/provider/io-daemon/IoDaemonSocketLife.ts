/**
 * The beginning and the end of a connection or UDP port of the io-daemon: fibers wait here for it to open or to close,
 * and both sides learn of the end once.
 */
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import type { PeerAddress } from "../../../base/PeerAddress.ts"
import * as SocketErrno from "../../SocketErrno.ts"
import { ConnectionError } from "../../Transport.ts"
import type { Session } from "./IoDaemonSession.ts"

/** The life of the socket `id`. */
export interface SocketLife {
  isOpen: boolean
  /** Completes with the address that the daemon opened, or reached. */
  readonly opened: Deferred.Deferred<PeerAddress, ConnectionError>
  /** Completes when it is over; fails if it broke. */
  readonly closed: Deferred.Deferred<void, ConnectionError>
  /** Notes that it is over; the daemon knows already. */
  readonly finish: (exit: Exit.Exit<void, ConnectionError>) => void
  /** Ends it, and sends that to the daemon. Idempotent. */
  readonly close: (exit: Exit.Exit<void>) => void
  /** Notes that it broke, or never opened. `why` ends a sentence. */
  readonly fail: (why: string, code?: string) => void
}

/** A socket that was requested from the daemon. `release` frees what it holds, before anything learns of its end. */
export const makeUnsafe = (session: Session, id: number, address: PeerAddress, release: () => void): SocketLife => {
  const opened = Deferred.makeUnsafe<PeerAddress, ConnectionError>()
  const closed = Deferred.makeUnsafe<void, ConnectionError>()
  const self: SocketLife = {
    isOpen: true,
    opened,
    closed,
    finish: (exit) => {
      self.isOpen = false
      session.removeUnsafe(id)
      release()
      // Last: a fiber that waits for it continues inside the call.
      Deferred.doneUnsafe(closed, exit)
    },
    close: (exit) => {
      if (!self.isOpen) return
      session.sendUnsafe({ _tag: "Close", id })
      self.finish(exit)
    },
    fail: (why, code) => {
      const exit = Exit.fail(new ConnectionError({ address, why, ...SocketErrno.shortage(code) }))
      self.finish(exit)
      Deferred.doneUnsafe(opened, exit)
    }
  }
  return self
}
