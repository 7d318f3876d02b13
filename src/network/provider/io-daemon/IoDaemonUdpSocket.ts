/**
 * A UDP port of the io-daemon. The daemon passes on what it was granted: nothing before there is a sink, then a window
 * of `receiveWindowBytes`, granted again in batches as the sink receives; beyond that it drops the newest. Payloads
 * passed to a sink are in the message that they arrived in.
 */
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import * as PeerAddress from "../../../base/PeerAddress.ts"
import * as SocketErrno from "../../SocketErrno.ts"
import type { DatagramSink, UdpSocket } from "../../Transport.ts"
import * as Transport from "../../Transport.ts"
import type { Opening, Session } from "./IoDaemonSession.ts"
import * as IoDaemonSocketCodec from "./IoDaemonSocketCodec.ts"
import { SocketFrameError } from "./IoDaemonSocketCodec.ts"
import * as IoDaemonSocketLife from "./IoDaemonSocketLife.ts"

/** Payload bytes that the daemon may send ahead of a sink: some 180 packets of the size that uTP sends (BEP 29). */
export const receiveWindowBytes = 262_144

/** A socket that knows its port once it is open. */
export interface DaemonUdpSocket extends Opening {
  readonly socket: Omit<UdpSocket, "local">
}

/** The UDP port `id` of `session`, which was requested at `address`. Closing it sends a frame to the daemon. */
export const makeUnsafe = (session: Session, id: number, address: PeerAddress.PeerAddress): DaemonUdpSocket => {
  const life = IoDaemonSocketLife.makeUnsafe(session, id, address, () => {})
  let sink: DatagramSink | undefined
  let grantedBytes = 0
  let takenBytes = 0

  const grant = (bytes: number) => {
    grantedBytes += bytes
    session.sendUnsafe({ _tag: "Credit", id, bytes })
  }

  const take = (payload: Uint8Array, { host, port }: PeerAddress.PeerAddress) => {
    grantedBytes -= payload.length
    if (sink === undefined || grantedBytes < 0)
      throw new SocketFrameError({ why: "datagrams that it was not asked for" })
    const from = PeerAddress.make(host, port)
    try {
      // Datagrams from port 0 cannot be answered.
      if (from !== undefined) sink(payload, from)
    } catch (defect) {
      life.close(Exit.die(defect))
    }
    takenBytes += payload.length
    if (!life.isOpen || takenBytes < receiveWindowBytes / 4) return
    grant(takenBytes)
    takenBytes = 0
  }

  session.addUnsafe(id, {
    receiveUnsafe: (frame) => {
      switch (frame._tag) {
        case "Opened":
          return Deferred.doneUnsafe(life.opened, Exit.succeed(frame.address))
        case "Datagram":
          return take(frame.payload, frame.address)
        case "Failed":
        case "Closed":
          return life.fail(SocketErrno.whyNotListening(frame.code, address.port))
        default:
          throw new SocketFrameError({ why: `${frame._tag} for a UDP port` })
      }
    },
    breakUnsafe: life.fail
  })
  return {
    opened: Deferred.await(life.opened),
    closeUnsafe: () => life.close(Exit.void),
    socket: {
      receiveUnsafe: (receiver) => {
        if (sink !== undefined) throw new Error("receiveUnsafe was called twice")
        sink = receiver
        if (life.isOpen) grant(receiveWindowBytes)
      },
      sendUnsafe: (payload, to) => {
        if (
          !life.isOpen ||
          payload.length > Transport.maxDatagramBytes ||
          session.waitingBytesUnsafe() + payload.length > Transport.maxQueuedBytes ||
          IoDaemonSocketCodec.whyNotCarried(to) !== undefined
        )
          return
        session.sendUnsafe({ _tag: "Send", id, address: to, payload })
      },
      closed: Deferred.await(life.closed)
    }
  }
}
