/**
 * Measures how soon a player gets the first byte of a part that is not downloaded yet: `npm run bench:seek`. A service
 * downloads a film of 1 MiB pieces at 4 MB/s from another process, over loopback. A player watches it and jumps to
 * another part every two seconds, and closes its last stream when the first bytes of that are there.
 */
import { stat } from "node:fs/promises"
import * as path from "node:path"
import * as Demonstration from "./demonstration.ts"
import * as Film from "./film.ts"
import * as Service from "./service.ts"

/** Seconds of the film. Its download takes a quarter of that. */
const filmSeconds = 200

/** Where the player jumps to: parts of the film, far from each other, and none twice. */
const places = [0.5, 0.9, 0.3, 0.7, 0.95, 0.6, 0.4, 0.8, 0.55, 0.85, 0.45, 0.75, 0.35, 0.65]

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** Reads the rest of a file from a byte on, as fast as it comes. Returns when its first bytes are there. */
const watch = async (url: string, begin: number) => {
  const { promise, reject, resolve } = Promise.withResolvers<void>()
  const ending = new AbortController()
  const reading = async () => {
    const response = await fetch(url, { headers: { range: `bytes=${begin}-` }, signal: ending.signal })
    for await (const _ of response.body!) resolve()
  }
  reading().catch(reject)
  await promise
  return { close: () => ending.abort() }
}

const measure = async (self: Demonstration.Demonstration): Promise<boolean> => {
  const name = "film.bin"
  const film = path.join(self.folder, name)
  await Film.makeNoise(film, filmSeconds)
  const { size } = await stat(film)
  const { link, progress } = await Service.start(self, name)
  let stream = await watch(link, 0)
  const waits: Array<number> = []
  for (const place of places) {
    await Promise.race([pause(2_000), self.stopped])
    const begun = performance.now()
    const next = await watch(link, Math.floor(size * place))
    const millis = performance.now() - begun
    stream.close()
    stream = next
    const { share } = await progress()
    Demonstration.say(
      `${(place * 100).toFixed(0).padStart(3)} % of the film after ${millis.toFixed(0)} ms, ${(share * 100).toFixed(0)} % downloaded`
    )
    waits.push(millis)
  }
  stream.close()
  waits.sort((one, other) => one - other)
  const median = waits[Math.floor(waits.length / 2)]!
  Demonstration.say(`median ${median.toFixed(0)} ms, most ${waits.at(-1)!.toFixed(0)} ms`)
  return true
}

await Demonstration.run("bench:seek", measure)
