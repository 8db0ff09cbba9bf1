import { fingerprint } from './content-key.ts';

/** What the model is asked to be. `direct` is the baseline without evidence; `no-evidence` is the Reasoner when no box was usable. */
export type PromptRole = 'perceiver' | 'reasoner' | 'direct' | 'no-evidence' | 'grounding';

/** How an answer is written: an option's letter, a number, or free text. */
export type AnswerForm = 'choice' | 'number' | 'text';

/** The text around a question. `{question}` is replaced; suffixes follow the role's text. */
type PromptSet = {
  version: number;
  source: string;
  system: string;
  roles: Record<PromptRole, string>;
  /** Added after the `reasoner`, `direct` and `no-evidence` text; empty where the set asks for no particular form. */
  answerForms: Record<AnswerForm, string>;
};

const SYSTEM = 'You are a helpful assistant.';
const NO_FORM: Record<AnswerForm, string> = { choice: '', number: '', text: '' };

const PAPER_PERCEIVER =
  'Please carefully observe the image first to identify the object(s) referred to in the question. Note that each object type appears only once in the image. Then provide the 2D bounding box coordinates and labels of the related objects in JSON format.';
const HIGHLIGHTED = 'The key visual regions have been highlighted and cropped for you. Think step by step.';
const GROUNDING = 'Locate the {question} in the image. Report the bbox coordinates in JSON format.';

const THINK_THEN = 'Provide your detailed reasoning between the <think> </think> tags, and then';
const AUTHORS_FORMS: Record<AnswerForm, string> = {
  choice: `${THINK_THEN} answer the question with the option's letter from the given choices (e.g., A, B, etc.) within the <answer> </answer> tags.\n`,
  number: `${THINK_THEN} answer the question using a numerical value (e.g., 42 or 3.1) within the <answer> </answer> tags.\n`,
  text: `${THINK_THEN} provide your text answer within the <answer> </answer> tags.\n`,
};

function authorsPerceiver(label: string): string {
  return `Question: {question}\nLocate the key visual evidence in the image for answering this question. Report bbox coordinates in JSON format only: [{"bbox_2d": [x1, y1, x2, y2], "label": "${label}"}] If the question requires the entire image, return an empty list [].`;
}

const AUTHORS_ROLES: Record<PromptRole, string> = {
  perceiver: authorsPerceiver('description'),
  reasoner: `Question: {question}\n${HIGHLIGHTED}\n`,
  // The blank before the newline stands in the published evaluation code.
  direct: 'Question: {question}\nThink step by step. \n',
  'no-evidence': 'Question: {question}\nThink step by step.\n',
  grounding: GROUNDING,
};

/**
 * The named prompt sets. In a message the images stand before the user text.
 * - `paper`: appendix B.1, word for word. What the tiny model was trained on.
 * - `authors`: the authors' training code, which also fixes the form of the answer.
 * - `authors-evaluation`: the authors' evaluation code, which differs in the label hint and in free-form answers.
 * - `qwen`: plain grounding as Qwen3-VL is used without any training for roles.
 */
export const PROMPT_SETS = {
  paper: {
    version: 1,
    source: 'paper, appendix B.1',
    system: SYSTEM,
    roles: {
      perceiver: `{question} ${PAPER_PERCEIVER}`,
      reasoner: `{question} ${HIGHLIGHTED}`,
      direct: '{question} Think step by step.',
      'no-evidence': '{question} Think step by step.',
      grounding: GROUNDING,
    },
    answerForms: NO_FORM,
  },
  authors: {
    version: 1,
    source: "the authors' training code (p2r_dataset.py)",
    system: SYSTEM,
    roles: AUTHORS_ROLES,
    answerForms: AUTHORS_FORMS,
  },
  'authors-evaluation': {
    version: 1,
    source: "the authors' evaluation code (prompt.py)",
    system: SYSTEM,
    roles: { ...AUTHORS_ROLES, perceiver: authorsPerceiver('<description>') },
    answerForms: {
      ...AUTHORS_FORMS,
      text: `${THINK_THEN} answer the question simply within the <answer> </answer> tags.\n`,
    },
  },
  qwen: {
    version: 1,
    source: 'plain grounding, as Qwen3-VL is prompted without role training',
    system: SYSTEM,
    roles: {
      perceiver:
        '{question}\nLocate the objects that this question is about. Report the bbox coordinates in JSON format.',
      reasoner: `{question}\n${HIGHLIGHTED}`,
      direct: '{question}\nThink step by step.',
      'no-evidence': '{question}\nThink step by step.',
      grounding: GROUNDING,
    },
    answerForms: NO_FORM,
  },
} as const satisfies Record<string, PromptSet>;

/** Name of a prompt set. */
export type PromptSetName = keyof typeof PROMPT_SETS;

/** What to render. `answerForm` matters only to sets that ask for one. */
export type PromptRequest = {
  set: PromptSetName;
  role: PromptRole;
  question: string;
  answerForm?: AnswerForm;
};

/** System and user text of one request. */
export type RenderedPrompt = { system: string; user: string };

/**
 * The prompt of one role for one question (for `grounding`, the question is the description of what to find).
 * The question's text is put in as it is: nothing in it is read as a placeholder.
 * @see paper, section 3.2 (the perception prompt T_p(Q)) and appendix B.1
 */
export function renderPrompt({ set, role, question, answerForm }: PromptRequest): RenderedPrompt {
  const prompts: PromptSet = PROMPT_SETS[set];
  const answers = role === 'reasoner' || role === 'direct' || role === 'no-evidence';
  const suffix = answers && answerForm !== undefined ? prompts.answerForms[answerForm] : '';
  return { system: prompts.system, user: prompts.roles[role].replace('{question}', () => question) + suffix };
}

/** Name, version and fingerprint of a set's texts: goes into content keys, so that a changed prompt changes them. */
export function promptSetKey(set: PromptSetName): string {
  const { system, roles, answerForms, version } = PROMPT_SETS[set];
  return `${set}@${version}:${fingerprint({ system, roles, answerForms })}`;
}
