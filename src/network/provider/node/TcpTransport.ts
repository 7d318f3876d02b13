/**
 * Connections over TCP (`node:net`). Hot path: the read callback, once per read of up to `readBufferBytes`.
 *
 * All connections of a thread read into one buffer. That is sound because libuv asks for the buffer, reads into it and
 * calls back without anything in between, for one socket at a time (on Windows too: it posts reads of no bytes and
 * reads when there is something), and a sink has copied what it wants when it returns. Measured with Node 24, reading
 * from another process, CPU per 16 KiB with 200 connections: 5.4 to 6.4 us over one buffer of 256 KiB, 6.4 to 6.6 over
 * one of 64 KiB; a buffer for each costs 6.5 us and 50 MiB more memory, a stream's `data` events 13 to 14 us and 80 MiB
 * more.
 *
 * Closing is abrupt: what was written just before the scope closed may be lost, and a remote that still sends sees a
 * reset. Callers decide about timeouts, the number of connections and who may connect.
 */

import * as Dns from "node:dns"
import * as Net from "node:net"
import type * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Descriptors from "../../../base/Descriptors.ts"
import * as Environment from "../../../base/Environment.ts"
import * as Naming from "../../../base/Naming.ts"
import * as PeerAddress from "../../../base/PeerAddress.ts"
import * as AcceptQueue from "../../AcceptQueue.ts"
import * as SocketErrno from "../../SocketErrno.ts"
import type { Sink } from "../../Transport.ts"
import * as Transport from "../../Transport.ts"
import { ConnectionError, Dialer, Listener } from "../../Transport.ts"
import * as Offline from "./Offline.ts"

/** Larger reads are no cheaper; smaller ones call back more often. It is touched only as far as reads fill it. */
const readBufferBytes = 262_144

/** Not a `Buffer`: its `slice` does not copy, and a sink relies on the `slice` of a `Uint8Array`. */
const readBuffer = new Uint8Array(readBufferBytes)

/**
 * What is between a socket and its connection: made first, because a socket's reader is fixed when the socket is made.
 * `attach` connects it to its socket, which must be paused.
 */
const makeReader = () => {
  let sink: Sink | undefined
  let isOpen = true
  let socket: Net.Socket
  const closed = Deferred.makeUnsafe<void, ConnectionError>()
  const writable = Latch.makeUnsafe(true)

  const finish = (exit: Exit.Exit<void, ConnectionError>) => {
    if (!isOpen) return
    isOpen = false
    socket.destroy()
    writable.openUnsafe()
    // Last: a fiber that waits for it continues inside this call.
    Deferred.doneUnsafe(closed, exit)
  }

  /** `false` stops reading. */
  const give = (view: Uint8Array): boolean => {
    if (!isOpen) return false
    try {
      return sink!(view)
    } catch (defect) {
      finish(Exit.die(defect))
      return false
    }
  }

  const attach = (attached: Net.Socket, remote: PeerAddress.PeerAddress): AcceptQueue.Incoming => {
    socket = attached
    const isWritten = () => isOpen && socket.writableLength === 0
    const write = (bytes: Uint8Array): boolean => {
      if (!isOpen) return false
      // Node returns `false` for a long write even if the system has taken all of it at once.
      if (socket.write(bytes) || isWritten()) return true
      writable.closeUnsafe()
      return false
    }
    socket.on("drain", () => writable.openUnsafe())
    // The remote has closed its half, so nothing can be answered.
    socket.on("end", () => finish(Exit.void))
    socket.on("error", (cause) => {
      const code = SocketErrno.codeOf(cause)
      const why = SocketErrno.why(code)
      finish(Exit.fail(new ConnectionError({ address: remote, why, ...SocketErrno.shortage(code) })))
    })
    socket.on("close", () => finish(Exit.void))
    return {
      connection: {
        remote,
        receiveUnsafe: (receiver) => {
          if (sink !== undefined) throw new Error("receiveUnsafe was called twice")
          sink = receiver
          socket.resume()
        },
        resumeUnsafe: () => {
          if (sink !== undefined) socket.resume()
        },
        writeUnsafe: Object.assign(write, { isWrittenUnsafe: isWritten }),
        drained: writable.await,
        closed: Deferred.await(closed)
      },
      closeUnsafe: () => finish(Exit.void)
    }
  }

  const onread: Net.OnReadOpts = {
    buffer: readBuffer,
    callback: (length, buffer) => give(buffer.subarray(0, length))
  }
  return { onread, give, attach }
}

/** `from` is the local address that the connection has; `undefined` for the system's choice. */
const connect = Effect.fnUntraced(function* (address: PeerAddress.PeerAddress, from: string | undefined) {
  const scope = yield* Effect.scope
  const namedFrom = yield* Transport.NamedFrom
  // Only the wait is interruptible: a socket always has an owner that destroys it.
  return yield* Effect.uninterruptibleMask((restore) => {
    const connected = Deferred.makeUnsafe<void, ConnectionError>()
    const reader = makeReader()
    const socket = new Net.Socket({ onread: reader.onread, noDelay: true })
    const open = reader.attach(socket, address)
    // Keeps the socket from reading by itself once it is connected.
    socket.pause()
    try {
      socket.connect({
        host: address.host,
        port: address.port,
        lookup: lookupFrom(namedFrom),
        ...(from !== undefined && localOf(from))
      })
    } catch (cause) {
      // An invalid address is refused with an exception, when the socket already has a handle.
      open.closeUnsafe()
      return Effect.fail(new ConnectionError({ address, why: SocketErrno.why(SocketErrno.codeOf(cause)) }))
    }
    socket.once("connect", () => Deferred.doneUnsafe(connected, Exit.void))
    socket.once("error", () => Deferred.doneUnsafe(connected, open.connection.closed))
    return restore(Deferred.await(connected)).pipe(
      Effect.onError(() => Effect.sync(open.closeUnsafe)),
      Effect.andThen(AcceptQueue.own(scope, open))
    )
  })
})

/** Resolves names as the system does, and leaves out addresses that may not be named from `from`. */
const lookupFrom =
  (from: PeerAddress.Reach): Net.LookupFunction =>
  (host, options, done) =>
    Dns.lookup(host, { ...options, all: true }, (error, found) => {
      if (error !== null) return done(error, [])
      const allowed = found.filter(({ address }) => Naming.mayName(from, { host: address, port: 1 }))
      const [first] = allowed
      if (first === undefined) return done(Object.assign(new Error(), { code: "EPERM" }), [])
      return options.all === true ? done(null, allowed) : done(null, first.address, first.family)
    })

/** Of a name, only addresses of the family of the local address can be reached from it. */
const localOf = (from: string) => ({ localAddress: from, family: Net.isIP(from) })

interface ListenOptions {
  readonly host: string
  readonly port: number
  readonly backlog?: number | undefined
}

const listen = Effect.fnUntraced(function* (adopt: typeof adoptHandle, options: ListenOptions) {
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const queue = AcceptQueue.make(options.backlog ?? Transport.defaultBacklog)
  let isWarned = false

  const server = Net.createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    isWarned = false
    const remote = remoteOf(socket)
    // Without an address it is already gone.
    if (remote === undefined) return socket.destroy()
    const incoming = adopt(socket, remote)
    if (!AcceptQueue.offerUnsafe(queue, incoming)) incoming.closeUnsafe()
  })

  // The port stays open if a connection cannot be accepted, for want of file descriptors; logged once, not for each.
  const warn = (cause: unknown) => {
    if (Descriptors.isExhausted(cause)) fork(Descriptors.acceptFailed)
    if (isWarned) return
    isWarned = true
    fork(Effect.logWarning(`An incoming connection was lost: ${SocketErrno.why(SocketErrno.codeOf(cause))}`))
  }

  yield* Effect.acquireRelease(
    Effect.callback<void, ConnectionError>((resume) => {
      const fail = (cause: unknown) => {
        const why = SocketErrno.whyNotListening(SocketErrno.codeOf(cause), options.port)
        resume(Effect.fail(new ConnectionError({ address: { host: options.host, port: options.port }, why })))
      }
      server.once("error", fail)
      try {
        server.listen({ host: options.host, port: options.port }, () => {
          server.off("error", fail)
          server.on("error", warn)
          resume(Effect.void)
        })
      } catch (cause) {
        fail(cause)
      }
    }),
    () =>
      Effect.sync(() => {
        // The port is free when this returns; accepted connections live on, so its callback is not waited for.
        server.close()
        AcceptQueue.closeUnsafe(queue)
      })
  )

  const { address: host, port } = server.address() as Net.AddressInfo
  return { address: { host, port }, accept: AcceptQueue.accept(queue) }
})

/** An IPv4 peer of a port that listens on `::` shows up as `::ffff:10.0.0.7`; both forms are one address. */
const remoteOf = ({ remoteAddress, remotePort }: Net.Socket): PeerAddress.PeerAddress | undefined =>
  remoteAddress === undefined || remotePort === undefined ? undefined : PeerAddress.make(remoteAddress, remotePort)

/**
 * The connection of an incoming socket. `Net.Server` makes its sockets without a reused read buffer, so the handle
 * moves to a socket that has one, for less than half the CPU. That a socket keeps its handle in `_handle` and accepts
 * one as `handle` is not documented; if it does not, the socket stays what it is.
 */
const adoptHandle = (socket: Net.Socket, remote: PeerAddress.PeerAddress): AcceptQueue.Incoming => {
  const shell = socket as unknown as { _handle: { readonly useUserBuffer?: unknown } | null }
  const handle = shell._handle
  if (typeof handle?.useUserBuffer !== "function") return adoptStream(socket, remote)
  shell._handle = null
  socket.destroy()
  const reader = makeReader()
  const options = { handle, onread: reader.onread, pauseOnCreate: true }
  return reader.attach(new Net.Socket(options as unknown as Net.SocketConstructorOpts), remote)
}

const adoptStream = (socket: Net.Socket, remote: PeerAddress.PeerAddress): AcceptQueue.Incoming => {
  const reader = makeReader()
  socket.on("data", (chunk: Buffer) => {
    if (!reader.give(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))) socket.pause()
  })
  return reader.attach(socket, remote)
}

/**
 * `Dialer` over TCP whose connections have the local address `from`, and so reach only addresses of its family. A host
 * name is looked up, and its addresses tried in turn (RFC 8305).
 */
export const layerDialerFrom = (from: string | undefined): Layer.Layer<Dialer> =>
  Layer.succeed(Dialer, Offline.dialer({ connect: (address) => connect(address, from) }))

/** `Dialer` over TCP with the local address that the system chooses. */
export const layerDialer: Layer.Layer<Dialer> = layerDialerFrom(undefined)

/** `Listener` over TCP. */
export const layerListener: Layer.Layer<Listener> = Layer.succeed(
  Listener,
  Listener.of({ listen: (options) => listen(adoptHandle, options) })
)

/**
 * `Listener` over TCP with only what Node documents: incoming connections read through `data` events, into fresh
 * memory, at twice the CPU. For a runtime whose sockets only look like Node's.
 */
export const layerListenerStream: Layer.Layer<Listener> = Layer.succeed(
  Listener,
  Listener.of({ listen: (options) => listen(adoptStream, options) })
)

/**
 * `Dialer` and `Listener` over TCP.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { Transport } from "piecewise"
 * import { TcpTransport } from "piecewise/node"
 *
 * const program = Effect.gen(function* () {
 *   const listener = yield* Transport.Listener
 *   const dialer = yield* Transport.Dialer
 *   const { accept, address } = yield* listener.listen({ host: "127.0.0.1", port: 0 })
 *   const there = yield* dialer.connect(address)
 *   const here = yield* accept
 *   there.writeUnsafe(new TextEncoder().encode("hello"))
 *   return yield* Effect.callback<string>((resume) =>
 *     here.receiveUnsafe((view) => {
 *       resume(Effect.succeed(new TextDecoder().decode(view)))
 *       return true
 *     })
 *   )
 * })
 * const received = await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(TcpTransport.layer)))
 * assert.equal(received, "hello")
 * ```
 */
export const layer: Layer.Layer<Dialer | Listener> = Layer.merge(layerDialer, layerListener)

/**
 * `Dialer` and `Listener` over TCP, with the local address in `PIECEWISE_BIND` if it is set. Fails with `ConfigError` if
 * that is no address.
 */
export const layerConfig = (
  from: Config.Config<string | undefined> = Environment.from()
): Layer.Layer<Dialer | Listener, Config.ConfigError> =>
  Layer.merge(Layer.unwrap(Effect.map(from, layerDialerFrom)), layerListener)
