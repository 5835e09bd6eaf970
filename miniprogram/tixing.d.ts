// The types of tixing.js, for mini programs in TypeScript and for its own check. What each call does is told in tixing.js.

/** What the client needs of `wx`. */
export type Platform = Pick<
  WechatMiniprogram.Wx,
  'login' | 'request' | 'requestSubscribeMessage' | 'getSetting' | 'getStorageSync' | 'setStorageSync'
>

export interface Options {
  /** Where the hook is, `https://…`; its domain must be among the request domains of the mini program. */
  baseUrl: string
  /** The app's name in tixing.yaml; left out while there is one. */
  app?: string
  /** The platform; the global `wx` when left out. */
  wx?: Platform
}

/** What goes with a tap. */
export interface Extras {
  /** The appointment that this acceptance serves first. */
  for?: { kind: string; id: string }
  /** Of those in `hook.session_fields`. */
  fields?: Record<string, string | number | boolean>
  /** `Asia/Shanghai` */
  time_zone?: string
}

/** What ended without being booked. */
export interface Dropped {
  report: string
  /** All of it, or only `for`, `fields` and `time_zone`: then the acceptances are sent without them. */
  what: 'report' | 'extras'
  /** `too_old`, `conflict`, the hook's `code`, or `status_413`. */
  why: string
  /** The hook's words. */
  detail?: string
}

export interface Flushed {
  /** Reports of this person that still wait. */
  pending: number
  /** How many were booked by this call. */
  answered: number
  dropped?: Dropped[]
  /** Why the rest waits: `network`, `login`, `wx_login`, `identity`, `busy`, `status_502`, … */
  why?: string
  /** When it is tried again by itself. */
  retry_in_s?: number
}

export interface Subscribed {
  /** What the person answered, by template: `accept`, `reject`, … */
  results: Record<string, string>
  /** Why WeChat gave no answer: its code, and a word for it like `main_switch_off`. */
  fail?: { code: number | null; name: string; message: string }
  /** Consents by template, when the daemon has booked this tap. */
  balances?: Record<string, number>
  /** Templates worth asking for next, at most 3. */
  ask?: string[]
  /** What of this tap does not count. */
  ignored?: { template: string; status: string; why: string }[]
  /** An earlier sending of it was booked already. */
  duplicate?: true
  /** Reports that still wait; they are sent again by themselves and by `flush`. */
  pending: number
  dropped?: Dropped[]
  /** The id of this tap, where there was something to report. */
  report?: string
  /** The storage took nothing: the report is lost if the program ends before the daemon answers. */
  unsaved?: true
}

/** A rejection; its text is for developers. */
export type Fault = Error & { code: string; status?: number; retry_after_s?: number | null }

export interface Client {
  login(): Promise<{ ask: string[] }>
  subscribe(templateIds?: string[], extras?: Extras): Promise<Subscribed>
  flush(): Promise<Flushed>
  known(): { ask: string[]; balances: Record<string, number> }
  ask(): Promise<string[]>
  me(): Promise<Record<string, any>>
  /**
   * With `allApps` in all mini programs of the daemon, where WeChat tells the unionid at the login and at most 64 recipients
   * have it; else in this one alone.
   */
  forget(options?: { allApps?: boolean }): Promise<void>
  settings(): Promise<{ mainSwitch: boolean; kept: Record<string, string> }>
}

export function createClient(options: Options): Client
