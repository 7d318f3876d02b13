/**
 * The contract of whatever supplies blocks of a torrent besides its peers: web seeds, or a cache on the local network.
 *
 * A source makes a `Supplier` and joins the assembly with it (`Assembly.join`, `Assembly.gainAll`,
 * `Assembly.unchoked`). It requests blocks for it (`Requests.refill`), writes what arrives to its place
 * (`PieceBuffer.write`), and reports it (`Assembly.arriving`, `Assembly.received`). The order of pieces, the end game,
 * digests and blame are the same as for peers.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { TorrentLimits } from "../rate/RateLimits.ts"
import type { Assembly } from "./Assembly.ts"

/** What a supplier reports. `supplier` is its name for users, which shows no secret, and `why` the end of a sentence. */
export type SupplierEvent =
  /** It sends blocks. */
  | { readonly _tag: "Joined"; readonly supplier: string }
  /** It cannot be used now. It is tried again later. */
  | { readonly _tag: "Failed"; readonly supplier: string; readonly why: string }

/** The torrent to supply. */
export interface SupplierContext {
  readonly metainfo: Metainfo
  /** All piece state of the torrent. A supplier takes its id from `assembly.ids`. */
  readonly assembly: Assembly
  readonly limits: TorrentLimits
  /** URLs of web seeds that the user named besides those in `metainfo`; `false` if no web seed is to be used. */
  readonly webSeeds: ReadonlyArray<string> | false
  readonly report: (event: SupplierEvent) => void
}

/** Supplies blocks of any torrent. Made once for an engine. */
export interface SupplierSource {
  /**
   * Supplies blocks of a torrent until it is interrupted; ends at once if it has none of that torrent. It never fails:
   * it retries by itself. Runs while pieces of the torrent are wanted that are not stored. Its suppliers leave the
   * assembly when the scope closes, which is when the effect ends. A supplier that joins again takes a new number.
   */
  readonly supply: (context: SupplierContext) => Effect.Effect<void, never, Scope.Scope>
  /**
   * Whether it may have blocks of a torrent. If not, `supply` is not called, and nothing of it is kept. Default: it may.
   */
  readonly mayHave?: ((torrent: Pick<SupplierContext, "metainfo" | "webSeeds">) => boolean) | undefined
}

/** The sources that every torrent of an engine uses; default none. */
export const SupplierSources = Context.Reference<ReadonlyArray<SupplierSource>>("piecewise/assembly/SupplierSources", {
  defaultValue: () => []
})
