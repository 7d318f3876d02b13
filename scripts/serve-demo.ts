/**
 * Demonstrates a service: `npm run serve:demo`. Makes a film and a torrent from it, seeds it at 4 MB/s from a second
 * process, starts `piecewise serve`, adds the torrent through the HTTP API, and plays the middle of the film while most
 * of it is missing. With `--keep` it then leaves the service on until Ctrl-C, and prints a link for a media player.
 *
 * Everything happens in one temporary folder, which is always removed at the end. Exit code 0 means that the bytes that
 * were played are those of the film.
 */
import { open, stat } from "node:fs/promises"
import * as path from "node:path"
import * as InfoHash from "../src/base/InfoHash.ts"
import * as Units from "../src/cli/Units.ts"
import * as Command from "./command.ts"
import * as Demonstration from "./demonstration.ts"
import * as Film from "./film.ts"
import * as Service from "./service.ts"

const { say } = Demonstration

/** The length of the film. Its download takes a quarter of that. */
const filmSeconds = 60

/** What is played of each part: a second of the film. */
const playedBytes = Film.bytesPerSecond

const makeFilm = async (folder: string): Promise<{ readonly name: string; readonly isFilm: boolean }> => {
  const isFilm = await Film.isPossible()
  const name = isFilm ? "film.mp4" : "film.bin"
  const file = path.join(folder, name)
  if (isFilm) await Film.make(file, filmSeconds)
  else await Film.makeNoise(file, filmSeconds)
  const size = Units.bytes((await stat(file)).size)
  say(
    isFilm
      ? `\nMade a film of ${filmSeconds} seconds, ${size}.`
      : `\nffmpeg is not installed, so ${name} stands in for a film: ${size} of noise, which no player can show.`
  )
  return { name, isFilm }
}

/** Reads a part of a file of the service. Returns it, and how long its first bytes took (milliseconds). */
const play = async (url: string, begin: number) => {
  const asked = performance.now()
  const range = `bytes=${begin}-${begin + playedBytes - 1}`
  const response = await fetch(url, { headers: { range } })
  if (response.status !== 206) throw new Error(`the service answers ${response.status}: ${await response.text()}`)
  const chunks: Array<Uint8Array> = []
  let first: number | undefined
  for await (const chunk of response.body!) {
    first ??= performance.now() - asked
    chunks.push(chunk)
  }
  return { bytes: Buffer.concat(chunks), millis: first ?? Number.NaN }
}

const sourceBytes = async (file: string, begin: number): Promise<Buffer> => {
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(playedBytes), 0, playedBytes, begin)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`

const demo = async (self: Demonstration.Demonstration): Promise<boolean> => {
  const { folder, stopped } = self
  const keeps = process.argv.includes("--keep")
  say("piecewise serves a film while it is downloaded from another process, over loopback.")
  say(`It uses the folder ${folder}, which is removed afterwards.`)
  const { isFilm, name } = await makeFilm(folder)
  const film = path.join(folder, name)
  const { size } = await stat(film)

  const { infoHash, link, progress } = await Service.start(self, name)
  say(`Added torrent ${InfoHash.toHex(infoHash).slice(0, 8)} through the API, and made a link for a player:\n${link}\n`)

  let isEqual = true
  for (const [what, share] of [
    ["the start", 0],
    ["the middle", 0.5],
    ["the end", 0.95]
  ] as const) {
    const begin = Math.floor(size * share)
    const { bytes, millis } = await Promise.race([play(link, begin), stopped])
    const { share: done } = await progress()
    const same = bytes.equals(await sourceBytes(film, begin))
    isEqual &&= same && done < 1
    const took = `first bytes after ${(millis / 1_000).toFixed(2)} s`
    const compared = same ? "equal to those of the film" : "DIFFERENT"
    say(`  ${what.padEnd(10)}  ${took}, ${percent(done)} downloaded, ${Units.bytes(bytes.length)} ${compared}`)
  }
  if (isFilm) {
    const at = filmSeconds * 0.75
    const args = ["-v", "error", "-ss", String(at), "-i", link, "-t", "2", "-f", "framecrc", "-map", "0:v", "-"]
    const shown = await Promise.race([Command.capture("ffmpeg", args), stopped])
    const frames = shown.split("\n").filter((line) => /^\d/.test(line)).length
    const { share: done } = await progress()
    say(`  ffmpeg shows ${frames} pictures from second ${at} on, ${percent(done)} downloaded`)
    isEqual &&= frames === 50
  }
  say(isEqual ? "\nAll bytes are equal." : "\nSomething is wrong.")
  if (keeps) {
    say(`\nThe service is still there. Open the link in a browser or a player, such as: mpv ${link}`)
    say("Ctrl-C ends it.")
    await stopped
  }
  return isEqual
}

await Demonstration.run("serve:demo", demo)
