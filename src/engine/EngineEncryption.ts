/**
 * How the connections of an engine are encrypted: as its option says, unless the program has provided an `Encryption` of
 * its own.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { InfoHash } from "../base/InfoHash.ts"
import type { Policy } from "../connect/Encryption.ts"
import * as Encryption from "../connect/Encryption.ts"
import * as Mse from "../connect/mse/Mse.ts"
import * as TorrentNames from "../connect/mse/TorrentNames.ts"

/** The policy of an engine that was given none. */
export const defaultPolicy: Policy = "prefer"

/** The encryption of one engine. */
export interface EngineEncryption {
  readonly encryption: Encryption.Encryption
  /** Lets peers ask for a torrent over encrypted connections, until the scope closes. */
  readonly serve: (infoHash: InfoHash) => Effect.Effect<void, never, Scope.Scope>
}

/** Makes it without torrents. */
export const make = Effect.fnUntraced(function* (policy: Policy = defaultPolicy): Effect.fn.Return<EngineEncryption> {
  const torrents = TorrentNames.make()
  const own = policy === "off" ? Effect.succeed(Encryption.plain) : Mse.make({ policy, torrents })
  return {
    encryption: (yield* Encryption.Encryption) ?? (yield* own),
    serve: (infoHash) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => TorrentNames.add(torrents, infoHash)),
          () => Effect.sync(() => TorrentNames.remove(torrents, infoHash))
        )
      )
  }
})
