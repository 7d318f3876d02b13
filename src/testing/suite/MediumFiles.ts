/** What the suites of a medium of files ask to be done to its files. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** The folder of a medium from the side of users and other programs. A path is relative to it, with `/`. */
export class MediumFiles extends Context.Service<
  MediumFiles,
  {
    /** The bytes of every regular file that exists, by its path, including those set aside. */
    readonly list: Effect.Effect<ReadonlyMap<string, Uint8Array>>
    /** Puts a new file at a path; a number makes one hole of so many bytes. */
    readonly put: (path: string, content: Uint8Array | number) => Effect.Effect<void>
    /** Puts a folder at a path. */
    readonly block: (path: string) => Effect.Effect<void>
    /** Writes into a file. */
    readonly modify: (path: string, offset: number, bytes: Uint8Array) => Effect.Effect<void>
    /** Changes the time at which a file was changed. */
    readonly touch: (path: string) => Effect.Effect<void>
    readonly cut: (path: string, length: number) => Effect.Effect<void>
    /** Replaces a file by another one with the same bytes. */
    readonly replace: (path: string) => Effect.Effect<void>
    /** Adds a name to a file. */
    readonly link: (from: string, to: string) => Effect.Effect<void>
    readonly remove: (path: string) => Effect.Effect<void>
  }
>()("piecewise/testing/MediumFiles") {}
