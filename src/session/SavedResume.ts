/**
 * The resume data of a torrent that is not in the engine. It has one owner at a time, so whoever uses it holds the lock of
 * the torrent.
 */
import * as Effect from "effect/Effect"
import type { Bitfield } from "../base/Bitfield.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { ResumeData, ResumeError, TorrentResume } from "../resume/ResumeStore.ts"
import type { SessionRecord } from "./SessionRecord.ts"

/** Opens it while `use` runs. Fails with `ResumeError` if it cannot be opened. */
export const use = <A, E>(
  { resume }: Pick<SessionRecord, "resume">,
  { infoHash, layout: { fileCount, geometry } }: Pick<Metainfo, "infoHash" | "layout">,
  use: (resume: TorrentResume) => Effect.Effect<A, E>
): Effect.Effect<A, E | ResumeError> =>
  Effect.scoped(Effect.flatMap(resume.open({ infoHash, pieceCount: geometry.pieceCount, fileCount }), use))

/** What was saved; `undefined` if there is nothing that can be read. */
export const load = (
  self: Pick<SessionRecord, "resume">,
  metainfo: Pick<Metainfo, "infoHash" | "layout">
): Effect.Effect<ResumeData | undefined, ResumeError> => use(self, metainfo, ({ load }) => load)

/** The pieces that are trusted: after a restart of the machine only those that were flushed. */
export const trusted = ({ flushed, isSameBoot, stored }: ResumeData): Bitfield => (isSameBoot ? stored : flushed)
