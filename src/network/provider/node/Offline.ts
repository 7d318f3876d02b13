/**
 * Keeps a process on this machine: with `PIECEWISE_OFFLINE`, no address is dialled, asked or looked up that is not
 * loopback. Demos, tests and benchmarks set it, so that nothing in them can look outside. This is the only file that
 * knows it: whatever on Node opens a connection, sends a datagram, makes an HTTP request or resolves a name asks here.
 *
 * The variable is read when a socket is made or a name is looked up. Listening is not restricted: whoever connects has
 * chosen to.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PeerAddress from "../../../base/PeerAddress.ts"
import * as Reach from "../../../base/Reach.ts"
import * as SocketErrno from "../../SocketErrno.ts"
import type { Listener } from "../../Transport.ts"
import { ConnectionError, Dialer, UdpPort } from "../../Transport.ts"

/** The variable, and the code of the errors for which it is the reason, as `SocketErrno` knows it. */
export const code = SocketErrno.offline

/** The values of the variable that say no. Every other one says yes. */
const no = /^\s*(?:|0|n|no|off|false)\s*$/i

/** Whether only this machine may be reached. */
export const isOn = (): boolean => !no.test(process.env[code] ?? "")

/** Systems take these for loopback. */
const unspecified: ReadonlySet<string> = new Set(["0.0.0.0", "::"])

const isHere = (host: string): boolean => Reach.isThisMachine(host) || unspecified.has(host)

/** Returns why nothing may be sent to a host, which may be a name; `undefined` if something may. */
export const whyNot = (host: string): string | undefined =>
  isOn() && !isHere(host) ? SocketErrno.why(code) : undefined

/** Returns the same as an error with `code`, as Node's own functions throw them. */
export const refusal = (host: string): NodeJS.ErrnoException | undefined => {
  const why = whyNot(host)
  return why === undefined ? undefined : Object.assign(new Error(`${host}: ${why}`), { code })
}

/** Makes a dialer fail with `ConnectionError` instead of leaving this machine. */
export const dialer = (self: Dialer["Service"]): Dialer["Service"] => ({
  connect: (address) =>
    Effect.suspend(() => {
      const why = whyNot(address.host)
      return why === undefined ? self.connect(address) : Effect.fail(new ConnectionError({ address, why }))
    })
})

/** Makes UDP ports drop datagrams that would leave this machine. The first of each socket is logged as a warning. */
export const udpPort = (self: UdpPort["Service"]): UdpPort["Service"] => ({
  bind: Effect.fnUntraced(function* (options) {
    const socket = yield* self.bind(options)
    if (!isOn()) return socket
    const fork = Effect.runForkWith(yield* Effect.context<never>())
    let isWarned = false
    return {
      ...socket,
      sendUnsafe: (payload, to) => {
        if (isHere(to.host)) return socket.sendUnsafe(payload, to)
        if (isWarned) return
        isWarned = true
        fork(Effect.logWarning(`Nothing is sent to ${PeerAddress.format(to)}: ${SocketErrno.why(code)}`))
      }
    }
  })
})

/** The same for a medium that connects and sends through another process, such as the io-daemon. */
export const layer = <E, R>(
  medium: Layer.Layer<Dialer | Listener | UdpPort, E, R>
): Layer.Layer<Dialer | Listener | UdpPort, E, R> =>
  Layer.effectContext(
    Effect.map(Layer.build(medium), (context) =>
      context.pipe(
        Context.add(Dialer, dialer(Context.get(context, Dialer))),
        Context.add(UdpPort, udpPort(Context.get(context, UdpPort)))
      )
    )
  )
