/**
 * The contract of what copies a session while it is used.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { SessionStoreError } from "./SessionStore.ts"

/** Copies a session while it is used. Not every store can. */
export class SessionCopy extends Context.Service<
  SessionCopy,
  {
    /**
     * Copies what the store keeps to a file, which must not exist or be empty. Has every commit that has returned, and
     * each other one as a whole or not at all.
     */
    readonly to: (path: string) => Effect.Effect<void, SessionStoreError>
  }
>()("piecewise/session/SessionCopy") {}
