/**
 * Tickets: links to one torrent for media players, which cannot send headers. Whoever has the link can read the files
 * of that torrent, and do nothing else.
 *
 * A ticket ends 24 hours after it was made, or, if a player still uses it, one hour after its last use. There are at
 * most 1,000; another one ends that which was used the longest ago. All end when the password changes, and with the
 * process.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as InfoHash from "../../base/InfoHash.ts"
import * as Monotonic from "../../base/Monotonic.ts"
import * as Credentials from "./Credentials.ts"
import * as Recent from "./Recent.ts"
import * as Secret from "./Secret.ts"

/** Makes and finds tickets. */
export class Tickets extends Context.Service<
  Tickets,
  {
    /** Makes a ticket for a torrent: a text for a component of a path. */
    readonly make: (infoHash: InfoHash.InfoHash) => Effect.Effect<string>
    /** The torrent of a ticket, which is used by that; `undefined` if it is unknown or has ended. */
    readonly find: (ticket: string) => Effect.Effect<InfoHash.InfoHash | undefined>
    /** Ends the tickets for a torrent, as it is removed. */
    readonly endOf: (infoHash: InfoHash.InfoHash) => Effect.Effect<void>
  }
>()("piecewise/control/security/Tickets") {}

/** Tickets at a time. */
export const maxTickets = 1_000

const hour = 3_600_000

/** How long a ticket is good after it was made, and after its last use (milliseconds). */
export const lifetime = 24 * hour
const lifetimeAfterUse = hour

interface Ticket {
  readonly secret: string
  readonly infoHash: InfoHash.InfoHash
  /** The revision of the password at that time. */
  readonly revision: number
  readonly madeAt: number
  readonly usedAt: number
}

const hasEnded = ({ madeAt, usedAt }: Ticket, now: number): boolean =>
  now - madeAt >= lifetime && now - usedAt >= lifetimeAfterUse

const implementation = Effect.map(Credentials.Credentials, (credentials) => {
  const tickets = Recent.make<Ticket>(maxTickets)
  const revisionAndTime = Effect.all([
    Effect.map(Credentials.passwordOf(credentials), (it) => it.revision),
    Monotonic.now
  ])
  return Tickets.of({
    make: (infoHash) =>
      Effect.map(revisionAndTime, ([revision, now]) => {
        const secret = Secret.make()
        Recent.set(tickets, Secret.keyOf(secret), { secret, infoHash, revision, madeAt: now, usedAt: now })
        return secret
      }),
    find: (secret) =>
      Effect.map(revisionAndTime, ([revision, now]) => {
        const key = Secret.keyOf(secret)
        const ticket = Recent.peek(tickets, key)
        if (ticket === undefined || !Secret.equals(ticket.secret, secret)) return undefined
        if (hasEnded(ticket, now) || ticket.revision !== revision) {
          Recent.remove(tickets, key)
          return undefined
        }
        Recent.set(tickets, key, { ...ticket, usedAt: now })
        return ticket.infoHash
      }),
    endOf: (infoHash) =>
      Effect.sync(() => {
        const hex = InfoHash.toHex(infoHash)
        Recent.removeIf(tickets, (ticket) => InfoHash.toHex(ticket.infoHash) === hex)
      })
  })
})

/** Tickets in memory. */
export const layer: Layer.Layer<Tickets, never, Credentials.Credentials> = Layer.effect(Tickets, implementation)
