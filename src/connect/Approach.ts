/**
 * Dials a peer and introduces us to it, in each of the ways that encryption allows until one works, over a connection of
 * its own each time.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { PeerAddress, Reach } from "../base/PeerAddress.ts"
import type { Dialer } from "../network/Transport.ts"
import { ConnectionError } from "../network/Transport.ts"
import * as Dial from "./Dial.ts"
import type { Policy, Way } from "./Encryption.ts"
import * as Encryption from "./Encryption.ts"
import * as Introduction from "./Introduction.ts"
import { NotIntroduced } from "./NotIntroduced.ts"

/** Whom we dial, and who we are. */
export interface Options {
  readonly dialer: Dialer["Service"]
  readonly address: PeerAddress
  /** The reach of whoever named the address (`Dial.connect`). */
  readonly from: Reach
  readonly ourselves: Introduction.Ourselves
  /**
   * Called if the peer has closed or broken the connection before it sent its handshake, in every way that encryption
   * allows.
   */
  readonly hungUp: () => void
}

/** What the end of a connection before the handshake may mean, if there is no other way to try. */
const hints: Readonly<Record<Policy, string>> = {
  off: "it may accept only encrypted connections",
  require: "it may not encrypt, which is required here",
  prefer: "both with and without encryption"
}

type Refusal = ConnectionError | NotIntroduced

/** Whether another way may work: the peer did not understand this one, as far as is known. */
const isRefusal = (error: Introduction.IntroductionError): error is Refusal =>
  error._tag === "piecewise/ConnectionError" || (error._tag === "NotIntroduced" && error.reason !== "other torrent")

/** Whether the peer closed or broke the connection before it sent its handshake. */
const isHangUp = (error: Refusal): boolean => error._tag !== "NotIntroduced" || error.reason === "closed"

const withHint = (error: Refusal, hint: string): Refusal =>
  error._tag === "NotIntroduced"
    ? new NotIntroduced({ reason: error.reason, hint })
    : new ConnectionError({
        address: error.address,
        why: `${error.why}; ${hint}`,
        ...(error.code !== undefined && { code: error.code })
      })

/** Dials until we are introduced. The connection closes with the scope. Fails as the last attempt did. */
export const introduce = Effect.fnUntraced(function* ({
  address,
  dialer,
  from,
  hungUp,
  ourselves
}: Options): Effect.fn.Return<Introduction.Introduced, Introduction.IntroductionError, Scope.Scope> {
  const encryption = yield* Encryption.current
  const owner = yield* Effect.scope
  const ways = encryption.ways(address)

  const attempt = (way: Way, scope: Scope.Scope) =>
    Effect.flatMap(Scope.provide(Dial.connect(dialer, address, from), scope), (connection) =>
      Effect.exit(Scope.provide(Introduction.dialled(connection, ourselves, way), scope))
    )

  for (let turn = 0; ; turn++) {
    const way = ways[turn]!
    const scope = yield* Scope.fork(owner)
    const exit = yield* attempt(way, scope)
    if (Exit.isSuccess(exit)) {
      encryption.note(address, way, true)
      return exit.value
    }
    yield* Scope.close(scope, exit)
    const error = Option.getOrUndefined(Exit.findErrorOption(exit))
    if (error === undefined || !isRefusal(error)) return yield* exit
    encryption.note(address, way, false)
    // A peer that says nothing has taken long enough.
    const isLast = turn === ways.length - 1 || (error._tag === "NotIntroduced" && error.reason === "late")
    if (!isLast) continue
    // One way alone says nothing about encryption, if there was another one.
    if (!isHangUp(error) || (encryption.policy === "prefer" && turn === 0)) return yield* exit
    hungUp()
    return yield* Effect.fail(withHint(error, hints[encryption.policy]))
  }
})
