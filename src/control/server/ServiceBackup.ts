/**
 * The contract of what makes backups of the service.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"

/** A backup could not be made. `message` is a sentence. May pass. */
export class BackupFailed extends Data.TaggedError("BackupFailed")<{ readonly message: string }> {}

/** Makes backups of what outlives the service. A service without it refuses to make one. */
export class ServiceBackup extends Context.Service<
  ServiceBackup,
  {
    /**
     * Makes a backup, and returns its bytes, which are there until the scope closes. One is made at a time: fails if
     * another scope has one.
     */
    readonly make: Effect.Effect<Stream.Stream<Uint8Array, BackupFailed>, BackupFailed, Scope.Scope>
  }
>()("piecewise/control/ServiceBackup") {}
