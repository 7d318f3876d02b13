/**
 * A listening TCP port of the io-daemon. Connections that arrive at the daemon wait here to be accepted, and are closed
 * here if they are not.
 */
import * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as PeerAddress from "../../../base/PeerAddress.ts"
import * as AcceptQueue from "../../AcceptQueue.ts"
import * as SocketErrno from "../../SocketErrno.ts"
import type { Connection } from "../../Transport.ts"
import { ConnectionError } from "../../Transport.ts"
import * as IoDaemonConnection from "./IoDaemonConnection.ts"
import type { Opening, Session } from "./IoDaemonSession.ts"
import { SocketFrameError } from "./IoDaemonSocketCodec.ts"

/** A port that knows its number once it is open. */
export interface DaemonListener extends Opening {
  readonly accept: Effect.Effect<Connection, never, Scope.Scope>
}

/** The port `id` of `session`, which was requested at `address`. Closing it sends a frame to the daemon. */
export const makeUnsafe = (
  session: Session,
  id: number,
  address: PeerAddress.PeerAddress,
  backlog: number
): DaemonListener => {
  const opened = Deferred.makeUnsafe<PeerAddress.PeerAddress, ConnectionError>()
  const queue = AcceptQueue.make(backlog)

  const finish = () => {
    session.removeUnsafe(id)
    AcceptQueue.closeUnsafe(queue)
  }

  const fail = (why: string) => {
    finish()
    Deferred.doneUnsafe(opened, Exit.fail(new ConnectionError({ address, why })))
  }

  const take = (accepted: number, { host, port }: PeerAddress.PeerAddress) => {
    const remote = PeerAddress.make(host, port)
    if (remote === undefined) return session.sendUnsafe({ _tag: "Close", id: accepted })
    const incoming = IoDaemonConnection.makeUnsafe(session, accepted, remote)
    if (!AcceptQueue.offerUnsafe(queue, incoming)) incoming.closeUnsafe()
  }

  session.addUnsafe(id, {
    receiveUnsafe: (frame) => {
      switch (frame._tag) {
        case "Opened":
          return Deferred.doneUnsafe(opened, Exit.succeed(frame.address))
        case "Accepted":
          return take(frame.accepted, frame.address)
        case "Failed":
        case "Closed":
          return fail(SocketErrno.whyNotListening(frame.code, address.port))
        default:
          throw new SocketFrameError({ why: `${frame._tag} for a listening port` })
      }
    },
    breakUnsafe: fail
  })
  return {
    opened: Deferred.await(opened),
    accept: AcceptQueue.accept(queue),
    closeUnsafe: () => {
      if (!queue.isOpen) return
      session.sendUnsafe({ _tag: "Close", id })
      finish()
    }
  }
}
