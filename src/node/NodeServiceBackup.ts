/**
 * Makes backups of a service that runs, in its state folder. `SessionBackup.ts` says what is in one.
 */
import * as Crypto from "node:crypto"
import * as NFS from "node:fs"
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import { BackupFailed, ServiceBackup } from "../control/server/ServiceBackup.ts"
import * as SessionBackup from "../session/provider/node/SessionBackup.ts"
import { SessionCopy } from "../session/SessionCopy.ts"
import * as ServiceFolder from "./ServiceFolder.ts"

/** How the names of backups begin that are being sent. */
const temporaryStart = "backup-for-"

/** How long a backup waits for another one: the one before it may still be removing its file. */
const patience = "2 seconds"

/** Backups that a killed service was sending. */
const removeLeftovers = async (state: string): Promise<void> => {
  const names = await FileSystem.readdir(state)
  for (const name of names.filter((name) => name.startsWith(temporaryStart))) {
    await FileSystem.rm(Path.join(state, name), { force: true })
  }
}

/** Makes backups of the service of a state folder, over the session at hand. */
export const layer = (state: string): Layer.Layer<ServiceBackup, never, SessionCopy> =>
  Layer.effect(
    ServiceBackup,
    Effect.gen(function* () {
      const session = yield* SessionCopy
      const oneByOne = Semaphore.makeUnsafe(1)
      yield* Effect.ignore(Effect.tryPromise(() => removeLeftovers(state)))
      const alone = Effect.timeoutOrElse(oneByOne.takeScoped(1), {
        duration: patience,
        orElse: () => Effect.fail(new BackupFailed({ message: "another backup is being made" }))
      })
      return ServiceBackup.of({
        make: Effect.gen(function* () {
          yield* alone
          const file = Path.join(state, temporaryStart + Crypto.randomBytes(8).toString("hex"))
          yield* Effect.acquireRelease(
            Effect.mapError(
              SessionBackup.make(file, ServiceFolder.resumeIn(state), session.to),
              ({ message }) => new BackupFailed({ message })
            ),
            () => Effect.promise(() => FileSystem.rm(file, { force: true }).catch(() => {}))
          )
          return NodeStream.fromReadable<Uint8Array, BackupFailed>({
            evaluate: () => NFS.createReadStream(file),
            onError: (cause) => new BackupFailed({ message: `the backup cannot be read: ${(cause as Error).message}` })
          })
        })
      })
    })
  )
