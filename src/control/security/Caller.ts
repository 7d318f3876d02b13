/**
 * Who sent a request. Every handler behind `Security.layer` can read it, and so can the log of actions.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { InfoHash } from "../../base/InfoHash.ts"

/** From where a request came: the address of the client, or of a proxy that is not trusted. Without a port. */
export interface From {
  readonly address: string
}

/**
 * How a client proved that it may talk to the service: by the token, by the password with each request, as a session of
 * a browser, or by a ticket, which is a link to one torrent. `Nobody` is a client of a route that needs no proof.
 */
export type Identity =
  | (From & { readonly _tag: "Token" })
  | (From & { readonly _tag: "Password" })
  | (From & { readonly _tag: "Cookie"; readonly session: string; readonly csrfToken: string })
  | (From & { readonly _tag: "Ticket"; readonly infoHash: InfoHash })
  | (From & { readonly _tag: "Nobody" })

/** Who sent the request that is being handled. */
export class Caller extends Context.Service<Caller, Identity>()("piecewise/control/security/Caller") {}

/** Who sent the request that is being handled: nobody without `Security.layer` around the route. */
export const current: Effect.Effect<Identity> = Effect.map(
  Effect.serviceOption(Caller),
  Option.getOrElse((): Identity => ({ _tag: "Nobody", address: "" }))
)
