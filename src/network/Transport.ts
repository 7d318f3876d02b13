/**
 * The contracts of byte connections to peers and of UDP ports: the same for TCP, uTP, MSE, the daemon's sockets and the
 * in-memory network. Data arrives through a synchronous sink, because a pulled stream costs four times the CPU of a
 * reused read buffer; control (open, close, wait for room) is Effect.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Naming from "../base/Naming.ts"
import * as PeerAddress from "../base/PeerAddress.ts"

/**
 * A connection could not be made, or broke. `why` ends a sentence: `connection refused`. `code` is the system's, if it
 * says that this process is short of descriptors (`Descriptors.isExhausted`), which says nothing about the peer.
 */
export class ConnectionError extends Schema.TaggedError<ConnectionError>()("piecewise/ConnectionError", {
  /** The address as it was asked for, which may be no valid one. */
  address: PeerAddress.Unchecked,
  why: Schema.String,
  code: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    return this.why
  }
}

/**
 * Receives what the peer sent. `view` is in a read buffer that is reused: it is valid until the call returns, and until
 * then the sink may change its bytes. `false` stops reading until `resumeUnsafe` (this view counts as received). A sink
 * must not throw: that closes the connection, and `closed` dies with the thrown error.
 */
export type Sink = (view: Uint8Array) => boolean

/**
 * Passes `bytes` on for sending; the caller may not change them afterwards, unless `isWrittenUnsafe` says so. Returns
 * `false` if so much waits that the caller should wait for `drained` before it writes more: further writes wait in
 * memory, without bound. After the connection closed it does nothing and returns `false`. What is not yet sent when the
 * scope closes may be lost.
 */
export interface Write {
  (bytes: Uint8Array): boolean
  /**
   * Whether the system has a copy of all that was written, so that the caller may use that memory again. Absent if that
   * cannot be known. It belongs to this function and not to the connection, so that a connection made of another one
   * with a `writeUnsafe` of its own does not have it by accident.
   */
  readonly isWrittenUnsafe?: (() => boolean) | undefined
}

/** An open connection; it closes with the scope it was opened in. */
export interface Connection {
  readonly remote: PeerAddress.PeerAddress
  /** Whether what it carries is hidden from others (`connect/Encryption.ts`); default: it is not. */
  readonly isEncrypted?: boolean | undefined
  /** Whether its handshake was encrypted, so that the other end can do that; default: it was not. */
  readonly canEncrypt?: boolean | undefined
  /** Starts reading into `sink`. Nothing is read before; called once. */
  readonly receiveUnsafe: (sink: Sink) => void
  /** Resumes reading after a sink returned `false`. */
  readonly resumeUnsafe: () => void
  readonly writeUnsafe: Write
  /** Completes when there is room to write, or when the connection has closed. */
  readonly drained: Effect.Effect<void>
  /**
   * Completes when the remote side has closed, even if only its sending half, and the sink has received every byte;
   * also when the scope of the connection closes. Fails if the connection broke; bytes on the way are then lost. A
   * close may be noticed only while reading: not before `receiveUnsafe`, nor after a sink returned `false`.
   */
  readonly closed: Effect.Effect<void, ConnectionError>
}

/**
 * From where whoever named the address can be reached that is dialled; default: it may lead anywhere. A dialer that
 * resolves a name connects to none of its addresses that may not be named from there (`base/Naming.ts`). One that
 * cannot see to what a name resolves must refuse the name, unless it may lead anywhere.
 */
export const NamedFrom = Context.Reference<PeerAddress.Reach>("piecewise/transport/NamedFrom", {
  defaultValue: () => Naming.anything
})

/** Opens connections. */
export class Dialer extends Context.Service<
  Dialer,
  {
    /** Connects, until the scope closes. Interruptible; it has no timeout of its own. */
    readonly connect: (address: PeerAddress.PeerAddress) => Effect.Effect<Connection, ConnectionError, Scope.Scope>
  }
>()("piecewise/transport/Dialer") {}

/** A listening port; it closes with the scope it was opened in. */
export interface Listening {
  readonly address: PeerAddress.PeerAddress
  /**
   * Waits for the next incoming connection, which then belongs to the caller's scope and outlives the port. Interrupts
   * itself when the port has closed.
   */
  readonly accept: Effect.Effect<Connection, never, Scope.Scope>
}

/**
 * How many incoming connections wait to be accepted: enough for a burst of a swarm, too few for a scan of the port.
 */
export const defaultBacklog = 64

/** Waits for connections. */
export class Listener extends Context.Service<
  Listener,
  {
    /**
     * Listens on `host` and `port` (0: any free one). At most `backlog` connections (`defaultBacklog`) wait to be
     * accepted; further ones are closed at once. Fails with `port 6881 is in use` and the like.
     */
    readonly listen: (options: {
      readonly host: string
      readonly port: number
      readonly backlog?: number | undefined
    }) => Effect.Effect<Listening, ConnectionError, Scope.Scope>
  }
>()("piecewise/transport/Listener") {}

/**
 * Receives a datagram and the address it is from. `payload`, which may be empty, is valid until the call returns. A
 * sink must not throw: that closes the socket, and `closed` dies with the thrown error.
 */
export type DatagramSink = (payload: Uint8Array, from: PeerAddress.PeerAddress) => void

/**
 * A bound UDP port; it closes with the scope it was bound in. Datagrams may be lost, doubled and reordered on the way.
 */
export interface UdpSocket {
  readonly local: PeerAddress.PeerAddress
  /**
   * Starts receiving into `sink`; called once. Earlier datagrams may be lost. Datagrams that arrive faster than the
   * sink runs wait in a bounded queue of the system or the daemon; when it is full the newest is dropped.
   */
  readonly receiveUnsafe: (sink: DatagramSink) => void
  /**
   * Sends `payload`, which the caller may not change afterwards, to `to`. Never waits and never fails. Dropped are what
   * cannot be sent, a payload over `maxDatagramBytes`, one to an address of another family than the socket's, what
   * would wait beyond the medium's bound, and everything after the socket closed. A host name is looked up each time.
   */
  readonly sendUnsafe: (payload: Uint8Array, to: PeerAddress.PeerAddress) => void
  /** Completes when the scope of the socket closes. Fails if the socket broke. */
  readonly closed: Effect.Effect<void, ConnectionError>
}

/** The longest payload that IPv4 carries: 65,535 bytes without the headers of IP and UDP (RFC 768, RFC 791). */
export const maxDatagramBytes = 65_507

/** Bytes that may wait to be sent through a UDP port; further datagrams are dropped. */
export const maxQueuedBytes = 1_048_576

/** Binds UDP ports, for trackers (BEP 15), the DHT (BEP 5) and uTP (BEP 29). */
export class UdpPort extends Context.Service<
  UdpPort,
  {
    /**
     * Binds `port` (0: any free one) of `host`, an address of this machine, whose family the socket then has. Fails
     * with `port 6881 is in use` and the like.
     */
    readonly bind: (options: {
      readonly host: string
      readonly port: number
    }) => Effect.Effect<UdpSocket, ConnectionError, Scope.Scope>
  }
>()("piecewise/transport/UdpPort") {}
