/**
 * Makes a film with ffmpeg: a test picture with noise, and a tone. What plays it has to seek before it can begin, because
 * its index (the `moov` atom) is behind its pictures, as in most films.
 */
import { open } from "node:fs/promises"
import * as KnownTorrent from "../src/testing/KnownTorrent.ts"
import * as Command from "./command.ts"

/** Bytes that a second of the film has, about. */
export const bytesPerSecond = 1_000_000

/** Whether ffmpeg is there to make a film. */
export const isPossible = (): Promise<boolean> => Command.works("ffmpeg", ["-version"])

const source = (description: string): ReadonlyArray<string> => ["-f", "lavfi", "-i", description]

/** Makes a film of so many seconds: H.264 and AAC in an MP4 file. A minute of it takes about four seconds. */
export const make = async (file: string, seconds: number): Promise<void> => {
  const inputs = [...source("testsrc2=size=640x360:rate=25"), ...source("sine=frequency=440")]
  // The noise gives the film the size of a real one. A key picture every two seconds lets players seek.
  const video = ["-vf", "noise=alls=40:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
  const rate = ["-b:v", String(bytesPerSecond * 8), "-g", "50"]
  const all = ["-v", "error", ...inputs, "-t", String(seconds), ...video, ...rate, "-c:a", "aac", file]
  await Command.capture("ffmpeg", all)
}

/** Makes what stands in for a film of so many seconds where there is no ffmpeg: noise that no player can show. */
export const makeNoise = async (file: string, seconds: number): Promise<void> => {
  const block = new Uint8Array(bytesPerSecond)
  const handle = await open(file, "w")
  try {
    for (let second = 0; second < seconds; second++) {
      KnownTorrent.fill(block, second * bytesPerSecond, 1)
      await handle.write(block)
    }
  } finally {
    await handle.close()
  }
}
