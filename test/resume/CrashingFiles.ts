/**
 * A file system in memory that stops at a chosen call and then shows what a disk may hold: what the process had written
 * when it was killed, or, after a power cut, only what had been flushed, for names and contents apart.
 */
import type { Files, Handle } from "../../src/resume/provider/node/FileResumeStore.ts"

interface Content {
  written: Uint8Array
  flushed: Uint8Array
}

/** Whether names and contents are as the process left them, or as they were last flushed. */
export interface Crash {
  readonly names: "written" | "flushed"
  readonly contents: "written" | "flushed"
}

/** Everything that the disk may hold afterwards. A killed process leaves the first, a power cut any of them. */
export const crashes: ReadonlyArray<Crash> = [
  { names: "written", contents: "written" },
  { names: "flushed", contents: "flushed" },
  { names: "written", contents: "flushed" },
  { names: "flushed", contents: "written" }
]

const failure = (code: string) => Object.assign(new Error(code), { code })

export class CrashingFiles implements Files {
  /** Names that lead to contents, as written and as flushed. */
  written = new Map<string, Content>()
  flushed = new Map<string, Content>()
  /** Calls made so far, in order, and handles not closed yet. */
  readonly calls: Array<string> = []
  openHandles = 0
  /** Whether a call was made while another one was under way. */
  overlapped = false
  private busy = false
  /** The call that fails, half done if it is a write; all calls after it fail too. */
  stopAt = Number.POSITIVE_INFINITY
  /** A single call that fails, and how. */
  failAt: { readonly call: number; readonly code: string } | undefined
  /** Whether writes accept nothing, without an error. */
  takesNothing = false

  private async enter(name: string): Promise<void> {
    const call = this.calls.push(name) - 1
    this.overlapped ||= this.busy
    this.busy = true
    await Promise.resolve()
    this.busy = false
    if (call >= this.stopAt) throw failure("KILLED")
    if (this.failAt?.call === call) throw failure(this.failAt.code)
  }

  private find(path: string): Content {
    const content = this.written.get(path)
    if (content === undefined) throw failure("ENOENT")
    return content
  }

  /** The device of the folder, another one while its disk is away. */
  device = 1

  readonly deviceOf = async () => this.device

  readonly makeFolders = async () => {
    await this.enter("mkdir")
    return undefined
  }

  readonly readFile = async (path: string) => {
    await this.enter("readFile")
    return this.find(path).written.slice()
  }

  readonly rename = async (from: string, to: string) => {
    await this.enter("rename")
    const content = this.find(from)
    this.written.delete(from)
    this.written.set(to, content)
  }

  readonly unlink = async (path: string) => {
    await this.enter("unlink")
    this.find(path)
    this.written.delete(path)
  }

  readonly open = async (path: string, flags: "r" | "r+" | "wx"): Promise<Handle> => {
    await this.enter(`open ${flags}`)
    // Only folders are opened for reading.
    if (flags === "r") return this.handle(undefined)
    if (flags === "wx" && !this.written.has(path))
      this.written.set(path, { written: new Uint8Array(), flushed: new Uint8Array() })
    const content = this.find(path)
    if (flags === "wx") content.written = new Uint8Array()
    return this.handle(content)
  }

  private handle(content: Content | undefined): Handle {
    this.openHandles++
    return {
      write: async (bytes, offset, length, position) => {
        const half = this.calls.length === this.stopAt
        // Writes are short now and then, and the caller has to continue.
        const taken = this.takesNothing ? 0 : half || length > 18 ? length >>> 1 : length
        if (content !== undefined && this.calls.length <= this.stopAt) {
          const grown = new Uint8Array(Math.max(content.written.length, position + taken))
          grown.set(content.written)
          grown.set(bytes.subarray(offset, offset + taken), position)
          content.written = grown
        }
        await this.enter("write")
        return { bytesWritten: taken }
      },
      sync: async () => {
        await this.enter("sync")
        if (content === undefined) this.flushed = new Map(this.written)
        else content.flushed = content.written
      },
      close: async () => {
        this.openHandles--
        await this.enter("close")
      }
    }
  }

  /** The disk as the next process finds it. */
  after(crash: Crash): CrashingFiles {
    const next = new CrashingFiles()
    for (const [path, content] of crash.names === "written" ? this.written : this.flushed) {
      const bytes = content[crash.contents].slice()
      const found = { written: bytes, flushed: bytes }
      next.written.set(path, found)
      next.flushed.set(path, found)
    }
    return next
  }
}
