/**
 * One WebSocket to the io-daemon and its sockets: which socket a frame is for, and what happens when the WebSocket
 * breaks.
 *
 * Uses the WHATWG `WebSocket` of both pages and Node. A page cannot set headers on one, so the token travels as a
 * subprotocol. Each kind of socket handles its own frames: `IoDaemonConnection.ts`, `IoDaemonListener.ts`,
 * `IoDaemonUdpSocket.ts`.
 */
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { PeerAddress } from "../../../base/PeerAddress.ts"
import type { Endpoint } from "../../../io-daemon/IoDaemon.ts"
import * as IoDaemonUrl from "../../../io-daemon/IoDaemonUrl.ts"
import type { ConnectionError } from "../../Transport.ts"
import type { ClientFrame, DaemonFrame } from "./IoDaemonSocketCodec.ts"
import * as IoDaemonSocketCodec from "./IoDaemonSocketCodec.ts"
import { SocketFrameError } from "./IoDaemonSocketCodec.ts"

/** What has an id in a session. */
export interface SessionSocket {
  /** Receives a frame; throws a `SocketFrameError` if the daemon may not send it. */
  readonly receiveUnsafe: (frame: DaemonFrame) => void
  /** The session has ended, and every socket on it. `why` ends a sentence. */
  readonly breakUnsafe: (why: string) => void
}

/** A socket that was requested from the daemon. */
export interface Opening {
  /**
   * Completes when the daemon has opened it, with its address, or the one it reached; fails if the daemon could not.
   */
  readonly opened: Effect.Effect<PeerAddress, ConnectionError>
  /** Closes the socket, and sends that to the daemon. Closing is idempotent. */
  readonly closeUnsafe: () => void
}

/** One WebSocket, from its handshake on. */
export interface Session {
  readonly isOpenUnsafe: () => boolean
  /**
   * The next id for a socket that the client opens. Ids are never reused: 2^31 of them are worth more than a year of 50
   * dials a second, and then the daemon ends the session and the next one starts afresh.
   */
  readonly nextIdUnsafe: () => number
  /** Passes the frames for `id` to `socket`, until `removeUnsafe`. Breaks it at once if the session is over. */
  readonly addUnsafe: (id: number, socket: SessionSocket) => void
  readonly removeUnsafe: (id: number) => void
  /** Sends a frame over the WebSocket; does nothing if the session is over. */
  readonly sendUnsafe: (frame: ClientFrame) => void
  /** Bytes that were sent but have not left yet. */
  readonly waitingBytesUnsafe: () => number
  /** Closes the WebSocket and breaks its sockets. Idempotent. */
  readonly endUnsafe: (why: string) => void
}

/** The subprotocol of these frames; the other offered one is the token. */
export const subprotocol = "piecewise.sockets.v1"

/** What sockets break with if the WebSocket closed without a reason. */
export const gone = "the io-daemon is gone"

/** The code of a WebSocket that closes because its server ends (RFC 6455 section 7.4.1). */
const goingAway = 1001

/**
 * Starts a session with the daemon at `endpoint`. Its connections are dialled from the local address `from` if it is
 * given. `onOpen` is called once it is usable, `onEnd` when it is not any
 * more, or never was, after its sockets have been broken. Throws if the WebSocket refuses the address or the token.
 */
export const makeUnsafe = (
  { url, token }: Endpoint,
  { onOpen, onEnd }: { readonly onOpen: () => void; readonly onEnd: () => void },
  from?: string
): Session => {
  const query = from === undefined ? "" : `?from=${from}`
  const webSocket = new WebSocket(`${IoDaemonUrl.pinned(url).replace(/^http/, "ws")}/v1/sockets${query}`, [
    subprotocol,
    `bearer.${Redacted.value(token)}`
  ])
  const sockets = new Map<number, SessionSocket>()
  let state: "opening" | "open" | "over" = "opening"
  let whyOver = gone
  let lastId = 0

  const end = (why: string) => {
    if (state === "over") return
    state = "over"
    whyOver = why
    webSocket.onmessage = null
    webSocket.close()
    const broken = [...sockets.values()]
    sockets.clear()
    for (const socket of broken) socket.breakUnsafe(why)
    onEnd()
  }

  const send = (frame: ClientFrame) => {
    if (state === "open") webSocket.send(IoDaemonSocketCodec.encodeClient(frame))
  }

  const receive = (data: unknown) => {
    if (!(data instanceof ArrayBuffer)) throw new SocketFrameError({ why: "a message of text" })
    const frame = IoDaemonSocketCodec.decodeDaemonUnsafe(new Uint8Array(data))
    const socket = sockets.get(frame.id)
    // A frame without a socket crossed our Close; an incoming connection then belongs to no one and is closed.
    if (socket !== undefined) socket.receiveUnsafe(frame)
    else if (frame._tag === "Accepted") send({ _tag: "Close", id: frame.accepted })
  }

  webSocket.binaryType = "arraybuffer"
  webSocket.onopen = () => {
    state = "open"
    onOpen()
  }
  webSocket.onmessage = ({ data }) => {
    try {
      receive(data)
    } catch (error) {
      if (!(error instanceof SocketFrameError)) throw error
      end(`the io-daemon broke the protocol of its sockets: ${error.why}`)
    }
  }
  webSocket.onclose = ({ code, reason }) => {
    // Its reason for going away is that it ends; any other is why it ends this session.
    end(reason === "" || code === goingAway ? gone : `the io-daemon ended its sockets: ${reason}`)
  }

  return {
    isOpenUnsafe: () => state === "open",
    nextIdUnsafe: () => ++lastId,
    addUnsafe: (id, socket) => {
      if (state === "over") socket.breakUnsafe(whyOver)
      else sockets.set(id, socket)
    },
    removeUnsafe: (id) => {
      sockets.delete(id)
    },
    sendUnsafe: send,
    waitingBytesUnsafe: () => webSocket.bufferedAmount,
    endUnsafe: end
  }
}
