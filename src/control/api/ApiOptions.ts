/**
 * The options of torrents, goals and limits, as they are in JSON. Programs that use the client have them as the session
 * has them. In JSON, `null` stands for the default.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Size from "../../base/Size.ts"
import * as RateLimits from "../../rate/RateLimits.ts"
import * as SessionInput from "../../session/SessionInput.ts"
import * as SeedingGoal from "../../torrent/SeedingGoal.ts"

const Positive = Schema.Finite.check(Schema.isGreaterThan(0))
const Count = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 }))
const BytesPerSecond = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }))

/** A hundred years: what is longer is forever. */
const Seconds = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 3_155_760_000 }))

/** The schema of when seeding ends. In JSON, the time is `seconds`. */
export const Goal = Schema.Struct({
  ratio: Schema.optional(Positive),
  seconds: Schema.optional(Seconds)
}).pipe(
  Schema.decodeTo(Schema.toType(SeedingGoal.SeedingGoal), {
    decode: SchemaGetter.transform(({ ratio, seconds }) => ({
      ratio,
      time: seconds === undefined ? undefined : Duration.seconds(seconds)
    })),
    encode: SchemaGetter.transform(({ ratio, time }) => ({
      ratio,
      seconds: time === undefined ? undefined : Duration.toSeconds(time)
    }))
  })
)

const limitIn = (size: Size.Size | undefined): number | undefined => {
  const bytes = Size.bytesOf(size)
  // A limit that is not finite is none.
  return bytes !== undefined && Number.isFinite(bytes) ? Math.max(1, Math.floor(bytes)) : undefined
}

/** Limits as numbers. */
export const plainRates = ({ downloadBytesPerSecond, uploadBytesPerSecond }: RateLimits.Limits) => ({
  downloadBytesPerSecond: limitIn(downloadBytesPerSecond),
  uploadBytesPerSecond: limitIn(uploadBytesPerSecond)
})

/** The schema of limits of payload in bytes a second. Absent for no limit. */
export const Rates = Schema.Struct({
  downloadBytesPerSecond: Schema.optional(BytesPerSecond),
  uploadBytesPerSecond: Schema.optional(BytesPerSecond)
}).pipe(
  Schema.decodeTo(Schema.toType(RateLimits.Limits), {
    decode: SchemaGetter.transform((rates) => rates),
    encode: SchemaGetter.transform(plainRates)
  })
)

/** The schema of what may be changed of a torrent, as `SessionTorrent.setOptions`. */
export const TorrentOptions = Schema.Struct({
  goal: Schema.optional(Goal),
  order: Schema.optional(Schema.Literals(["rarest", "sequential"])),
  limits: Schema.optional(Rates),
  peerLimits: Schema.optional(Rates),
  maxConnections: Schema.optional(Count),
  uploadSlots: Schema.optional(Count),
  superSeed: Schema.optional(Schema.Boolean),
  webSeeds: Schema.optional(Schema.Union([Schema.Array(Schema.String), Schema.Literal(false)]))
})

/** What may be changed of a torrent. */
export type TorrentOptions = typeof TorrentOptions.Type

/** The schema of a folder on the machine of the service: absolute, or below its download folder. */
export const Folder = SessionInput.Folder

/** The schema of the name of a label. */
export const LabelName = SessionInput.LabelName
