/**
 * What a service knows of the machine that it runs on.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** What a service knows of the machine that it runs on. */
export class ServiceFacts extends Context.Service<
  ServiceFacts,
  {
    /** When the service was started: milliseconds since 1970. */
    readonly startedAtMillis: number
    /** The folder that torrents are stored in, unless they have their own. */
    readonly directory: string
    /** Bytes that are free on the disk of that folder; `undefined` if that is not known. */
    readonly freeBytes: Effect.Effect<number | undefined>
  }
>()("piecewise/control/ServiceFacts") {}
