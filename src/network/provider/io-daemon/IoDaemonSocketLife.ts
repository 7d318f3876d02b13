/**
 * The beginning and the end of a connection or UDP port of the io-daemon, whatever goes over it meanwhile: who waits for it
 * to open or to close, and that both sides hear of the end once.
 */
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import type { PeerAddress } from "../../../base/PeerAddress.ts"
import { ConnectionError } from "../../Transport.ts"
import type { Session } from "./IoDaemonSession.ts"

/** The life of the socket `id`. */
export interface SocketLife {
  isOpen: boolean
  /** Completes with the address that the daemon has opened, or reached. */
  readonly opened: Deferred.Deferred<PeerAddress, ConnectionError>
  /** Completes when it is over; fails where it broke. */
  readonly closed: Deferred.Deferred<void, ConnectionError>
  /** It is over: the daemon knows. */
  readonly finish: (exit: Exit.Exit<void, ConnectionError>) => void
  /** Ends it, and tells the daemon. Closing twice is closing once. */
  readonly close: (exit: Exit.Exit<void>) => void
  /** It broke, or never opened. `why` ends a sentence. */
  readonly fail: (why: string) => void
}

/** A socket that the daemon was asked for. `release` gives up what it holds, before anybody hears of its end. */
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
      // Last: who waits for it goes on inside the call.
      Deferred.doneUnsafe(closed, exit)
    },
    close: (exit) => {
      if (!self.isOpen) return
      session.sendUnsafe({ _tag: "Close", id })
      self.finish(exit)
    },
    fail: (why) => {
      const exit = Exit.fail(new ConnectionError({ address, why }))
      self.finish(exit)
      Deferred.doneUnsafe(opened, exit)
    }
  }
  return self
}
