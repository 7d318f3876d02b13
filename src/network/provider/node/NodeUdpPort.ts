/**
 * UDP ports of the system (`node:dgram`). What has arrived waits in the system's receive buffer, which drops the
 * newest. An IPv6 port receives only IPv6, because the DHT keeps its families apart (BEP 32).
 */
import * as Dgram from "node:dgram"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as PeerAddress from "../../../base/PeerAddress.ts"
import * as SocketErrno from "../../SocketErrno.ts"
import type { DatagramSink, UdpSocket } from "../../Transport.ts"
import * as Transport from "../../Transport.ts"
import { ConnectionError, UdpPort } from "../../Transport.ts"
import * as Offline from "./Offline.ts"

const bindPort = Effect.fnUntraced(function* (options: { readonly host: string; readonly port: number }) {
  const address = { host: options.host, port: options.port }
  // Node binds the port modulo 65,536.
  if (!Number.isInteger(address.port) || address.port < 0 || address.port > 65_535) {
    return yield* new ConnectionError({ address, why: SocketErrno.why("ERR_SOCKET_BAD_PORT") })
  }
  const closed = Deferred.makeUnsafe<void, ConnectionError>()
  let isOpen = true
  let sink: DatagramSink | undefined
  let queuedBytes = 0

  const socket = Dgram.createSocket(
    address.host.includes(":") ? { type: "udp6", ipv6Only: true } : { type: "udp4" },
    (payload, from) => take(payload, from)
  )

  const finish = (exit: Exit.Exit<void, ConnectionError>) => {
    if (!isOpen) return
    isOpen = false
    socket.close()
    // Last: a fiber that waits for it continues inside the call.
    Deferred.doneUnsafe(closed, exit)
  }

  const fail = (cause: unknown) => {
    const code = SocketErrno.codeOf(cause)
    const why = SocketErrno.whyNotListening(code, address.port)
    finish(Exit.fail(new ConnectionError({ address, why, ...SocketErrno.shortage(code) })))
  }

  const take = (payload: Buffer, { address: host, port }: Dgram.RemoteInfo) => {
    const from = PeerAddress.make(host, port)
    // Datagrams from port 0 cannot be answered.
    if (!isOpen || sink === undefined || from === undefined) return
    try {
      // Not a `Buffer`: its `slice` does not copy, and a sink relies on the `slice` of a `Uint8Array`.
      sink(new Uint8Array(payload.buffer, payload.byteOffset, payload.length), from)
    } catch (defect) {
      finish(Exit.die(defect))
    }
  }

  yield* Effect.acquireRelease(
    Effect.callback<void, ConnectionError>((resume) => {
      socket.on("error", (cause) => {
        fail(cause)
        resume(Deferred.await(closed))
      })
      socket.bind({ address: address.host, port: address.port }, () => resume(Effect.void))
    }),
    () => Effect.sync(() => finish(Exit.void))
  )

  const send = (payload: Uint8Array, to: PeerAddress.PeerAddress) => {
    const { length } = payload
    if (!isOpen || length > Transport.maxDatagramBytes || queuedBytes + length > Transport.maxQueuedBytes) return
    try {
      // With a callback, an error of the system goes there instead of ending the socket.
      socket.send(payload, to.port, to.host, () => {
        queuedBytes -= length
      })
      queuedBytes += length
    } catch {
      // An invalid port is refused with an exception.
    }
  }

  const local = socket.address()
  return {
    local: { host: local.address, port: local.port },
    receiveUnsafe: (receiver) => {
      if (sink !== undefined) throw new Error("receiveUnsafe was called twice")
      sink = receiver
    },
    sendUnsafe: send,
    closed: Deferred.await(closed)
  } satisfies UdpSocket as UdpSocket
})

/** Binds a port, as `UdpPort` says. */
export const { bind } = Offline.udpPort({ bind: bindPort })

/** `UdpPort` of the system. */
export const layer: Layer.Layer<UdpPort> = Layer.succeed(UdpPort, UdpPort.of({ bind }))
