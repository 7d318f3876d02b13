/**
 * `Dialer`, `Listener` and `UdpPort` over the io-daemon, for a page, which has no sockets. All of a layer's sockets
 * share one WebSocket, opened with the first socket. If it breaks, as when the daemon ends, its sockets end with it
 * (`the io-daemon is gone`; fibers that wait to accept are interrupted). The next socket looks up where the daemon is
 * and opens another WebSocket, with the retries of all requests to the daemon (`IoDaemonClient.again`), because one may
 * just be starting.
 *
 * Uses only what pages have, and Node has too. Callers set their timeouts; the daemon gives up a dial after 30 seconds
 * (`timed out`), and dials no link-local, multicast or unspecified address (`permission denied`).
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Environment from "../../../base/Environment.ts"
import * as Naming from "../../../base/Naming.ts"
import type { PeerAddress } from "../../../base/PeerAddress.ts"
import { IoDaemon, IoDaemonUnavailable } from "../../../io-daemon/IoDaemon.ts"
import * as IoDaemonClient from "../../../io-daemon/IoDaemonClient.ts"
import type { Listening, UdpSocket } from "../../Transport.ts"
import * as Transport from "../../Transport.ts"
import { ConnectionError, Dialer, Listener, UdpPort } from "../../Transport.ts"
import * as IoDaemonConnection from "./IoDaemonConnection.ts"
import * as IoDaemonListener from "./IoDaemonListener.ts"
import type { Opening, Session } from "./IoDaemonSession.ts"
import * as IoDaemonSession from "./IoDaemonSession.ts"
import * as IoDaemonSocketCodec from "./IoDaemonSocketCodec.ts"
import * as IoDaemonUdpSocket from "./IoDaemonUdpSocket.ts"

/** Most connections that wait at a port of the daemon. */
const maxBacklog = 1024

/** The session that all sockets share, opened when it is first needed, and again when it is over. */
const makeSharedSession = Effect.fnUntraced(function* (from: string | undefined) {
  const daemon = yield* IoDaemon
  const scope = yield* Effect.scope
  let current: Session | undefined
  let opening: Deferred.Deferred<Session, IoDaemonUnavailable> | undefined
  let isOver = false

  const attempt = Effect.flatMap(daemon.endpoint, (endpoint) =>
    Effect.callback<Session, IoDaemonUnavailable>((resume) => {
      const fail = (why: string) => resume(Effect.fail(new IoDaemonUnavailable({ why })))
      try {
        const ends = {
          onOpen: () => resume(Effect.succeed(session)),
          onEnd: () => fail("it cannot be reached, or has another token")
        }
        const session = IoDaemonSession.makeUnsafe(endpoint, ends, from)
        current = session
        return Effect.sync(() => session.endUnsafe(IoDaemonSession.gone))
      } catch {
        return fail("its address or its token is not valid")
      }
    })
  ).pipe(
    Effect.timeoutOrElse({
      duration: IoDaemonClient.attemptTimeout,
      orElse: () => Effect.fail(new IoDaemonUnavailable({ why: "it did not answer in time" }))
    })
  )

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isOver = true
      current?.endUnsafe(IoDaemonSession.gone)
    })
  )

  /** All waiting fibers get the same answer. The attempt continues without them, because others will ask. */
  const open = Effect.suspend(() => {
    // In a closing scope no fiber would begin, and a fiber that waits for it would wait for ever.
    if (isOver || scope.state._tag === "Closed") {
      return Effect.fail(new IoDaemonUnavailable({ why: "its layer is closed" }))
    }
    if (opening !== undefined) return Deferred.await(opening)
    const mine = Deferred.makeUnsafe<Session, IoDaemonUnavailable>()
    opening = mine
    return Effect.retry(attempt, IoDaemonClient.again).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          opening = undefined
          Deferred.doneUnsafe(mine, exit)
        })
      ),
      Effect.forkIn(scope, { startImmediately: true }),
      Effect.andThen(Deferred.await(mine))
    )
  })

  return { get: Effect.suspend(() => (current?.isOpenUnsafe() === true ? Effect.succeed(current) : open)) }
})

const make = Effect.fnUntraced(function* (from: string | undefined) {
  const sharedSession = yield* makeSharedSession(from)

  /** Requests a socket, waits until it is open, and adds it to the caller's scope. */
  const open = Effect.fnUntraced(function* <A extends Opening>(
    address: PeerAddress,
    ask: (session: Session, id: number) => A
  ) {
    const scope = yield* Effect.scope
    const refuse = (why: string) => new ConnectionError({ address, why })
    const refusal = IoDaemonSocketCodec.whyNotCarried(address)
    if (refusal !== undefined) return yield* refuse(refusal)
    const session = yield* Effect.mapError(sharedSession.get, ({ message }) => refuse(message))
    // Only the wait is interruptible: a socket always has an owner that closes it.
    return yield* Effect.uninterruptibleMask((restore) => {
      const socket = ask(session, session.nextIdUnsafe())
      return restore(socket.opened).pipe(
        Effect.onError(() => Effect.sync(socket.closeUnsafe)),
        Effect.tap(() => Scope.addFinalizer(scope, Effect.sync(socket.closeUnsafe))),
        Effect.map((opened) => ({ socket, opened }))
      )
    })
  })

  const dialer = Dialer.of({
    connect: Effect.fnUntraced(function* (address) {
      // The daemon resolves names, and does not know who named the address.
      if ((yield* Transport.NamedFrom) !== Naming.anything && Naming.isName(address)) {
        return yield* new ConnectionError({ address, why: "permission denied" })
      }
      const { socket } = yield* open(address, (session, id) => {
        const connection = IoDaemonConnection.makeUnsafe(session, id, address)
        session.sendUnsafe({ _tag: "Dial", id, address })
        return connection
      })
      return socket.connection
    })
  })

  const listener = Listener.of({
    listen: ({ host, port, backlog: wanted = Transport.defaultBacklog }) => {
      const address = { host, port }
      const backlog = Math.min(Math.max(1, wanted), maxBacklog)
      return open(address, (session, id) => {
        const listening = IoDaemonListener.makeUnsafe(session, id, address, backlog)
        session.sendUnsafe({ _tag: "Listen", id, address, backlog })
        return listening
      }).pipe(Effect.map(({ socket, opened }): Listening => ({ address: opened, accept: socket.accept })))
    }
  })

  const udpPort = UdpPort.of({
    bind: ({ host, port }) => {
      const address = { host, port }
      return open(address, (session, id) => {
        const socket = IoDaemonUdpSocket.makeUnsafe(session, id, address)
        session.sendUnsafe({ _tag: "Bind", id, address })
        return socket
      }).pipe(Effect.map(({ socket, opened }): UdpSocket => ({ ...socket.socket, local: opened })))
    }
  })

  return Context.make(Dialer, dialer).pipe(Context.add(Listener, listener), Context.add(UdpPort, udpPort))
})

/**
 * `Dialer`, `Listener` and `UdpPort` over one WebSocket to the daemon. Connections are dialled from the local address
 * `from` of the daemon's machine, and so reach only addresses of its family.
 */
export const layerFrom = (from: string | undefined): Layer.Layer<Dialer | Listener | UdpPort, never, IoDaemon> =>
  Layer.effectContext(make(from))

/** The same, from the address that the daemon's system chooses. */
export const layer: Layer.Layer<Dialer | Listener | UdpPort, never, IoDaemon> = layerFrom(undefined)

/** The same, from the address in `PIECEWISE_BIND` if it is set. Fails with `ConfigError` if that is no address. */
export const layerConfig = (
  from: Config.Config<string | undefined> = Environment.from()
): Layer.Layer<Dialer | Listener | UdpPort, Config.ConfigError, IoDaemon> => Layer.unwrap(Effect.map(from, layerFrom))
