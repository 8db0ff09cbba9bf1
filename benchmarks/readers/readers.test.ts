import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import type { Benchmark, Item } from '../item.ts';
import { openBenchmark } from '../open.ts';
import { optionsInText, pythonStrings } from './options.ts';
import type { ReaderTools } from './parquet.ts';
import { fillPolygon, targetBoxes } from './reason-seg.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const directory = mkdtempSync(path.join(os.tmpdir(), 'p2r-readers-'));
const tools: ReaderTools = {
  python: path.join(ROOT, '.venv/bin/python'),
  pythonEnvironment: { PYTHONPATH: path.join(ROOT, 'engines') },
  images: path.join(directory, 'image-store'),
};

const picture = (red: number) =>
  sharp({ create: { width: 64, height: 48, channels: 3, background: { r: red, g: 90, b: 90 } } })
    .jpeg()
    .toBuffer();
const [first, second] = await Promise.all([picture(10), picture(200)]);

function folder(name: string): string {
  const made = path.join(directory, `${name}-${Math.random().toString(36).slice(2)}`);
  mkdirSync(made, { recursive: true });
  return made;
}

async function all(reference: string): Promise<{ benchmark: Benchmark; items: Item[] }> {
  const benchmark = await openBenchmark(reference, tools);
  const items: Item[] = [];
  for await (const item of benchmark.items()) items.push(item);
  return { benchmark, items };
}

/** Writes a parquet file of one SELECT, as the published files are typed. */
async function parquet(name: string, select: string): Promise<string> {
  const file = path.join(folder('parquet'), name);
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await connection.run(`COPY (${select}) TO '${file}' (FORMAT parquet)`);
  connection.closeSync();
  instance.closeSync();
  return file;
}
const blob = (bytes: Buffer) => `from_base64('${bytes.toString('base64')}')`;

describe('V*Bench', () => {
  const rows = [
    {
      image: 'direct_attributes/sa_4690.jpg',
      text: "What is the material of the glove?\n(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather\nAnswer with the option's letter from the given choices directly.",
      category: 'direct_attributes',
      label: 'A',
      question_id: '0',
    },
    {
      image: 'relative_position/sa_1.jpg',
      text: 'Is the dog left (or right) of the cat?\n(A) The dog is on the left side (near the wall).\n(B) The dog is on the right side.\nAnswer with the option’s letter from the given choices directly.'.replace(
        '’',
        "'",
      ),
      category: 'relative_position',
      label: 'B',
      question_id: '115',
    },
    { image: 'OCR/x.jpg', text: 'x\n(A) a\n(B) b', category: 'OCR', label: 'A', question_id: '191' },
  ];

  function published(): string {
    const root = folder('vstar');
    for (const name of ['direct_attributes', 'relative_position']) mkdirSync(path.join(root, name));
    writeFileSync(
      path.join(root, 'test_questions.jsonl'),
      rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
    );
    writeFileSync(path.join(root, 'direct_attributes/sa_4690.jpg'), first);
    writeFileSync(path.join(root, 'relative_position/sa_1.jpg'), second);
    writeFileSync(
      path.join(root, 'direct_attributes/sa_4690.json'),
      JSON.stringify({
        target_object: ['glove'],
        bbox: [[10, 20, 5, 8]],
        question: 'What is the material of the glove?',
        options: ['rubber', 'cotton', 'kevlar', 'leather'],
      }),
    );
    return root;
  }

  test('the scored categories, without the direction, with boxes from the JSON beside the image', async () => {
    const { benchmark, items } = await all(`v-star:${published()}`);
    expect(benchmark.published).toBe(191);
    expect(items).toHaveLength(2);
    expect(items[0]).toMatchObject({
      id: 'direct_attributes/0',
      question: 'What is the material of the glove?\n(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather',
      options: ['rubber', 'cotton', 'kevlar', 'leather'],
      answer: 'A',
      truth: [{ x1: 10, y1: 20, x2: 15, y2: 28, label: 'glove' }],
    });
    expect(items[1]).toMatchObject({ truth: null, answer: 'B' });
    expect(items[1]?.options[0]).toBe('The dog is on the left side (near the wall).');
    expect(await items[1]?.image.read()).toEqual(second);
  });

  test('the parquet re-pack', async () => {
    const text = rows[0]?.text.replaceAll("'", "''");
    const file = await parquet(
      'test-00000-of-00001.parquet',
      `SELECT {'bytes': ${blob(first)}, 'path': 'sa.jpg'} AS image, '${text}' AS text, 'direct_attributes' AS category, 'A' AS label, '0' AS question_id`,
    );
    const { items } = await all(`v-star:${file}`);
    expect(items).toHaveLength(1);
    expect(items[0]).toMatchObject({ answer: 'A', truth: null });
    expect(await items[0]?.image.read()).toEqual(first);
  });

  test('a wrong letter, a path that leaves the folder, and a line that is no JSON are named', async () => {
    const bad = (change: object) => {
      const root = published();
      writeFileSync(
        path.join(root, 'test_questions.jsonl'),
        `${JSON.stringify({ ...rows[1], ...change })}\n`,
      );
      return all(`v-star:${root}`);
    };
    await expect(bad({ label: 'C' })).rejects.toThrow(/line 1: label C is none of its 2 options/);
    await expect(bad({ label: 'E' })).rejects.toThrow(/label: must be a letter/);
    await expect(bad({ image: '../../etc/passwd' })).rejects.toThrow(/leaves/);
    const root = published();
    writeFileSync(path.join(root, 'test_questions.jsonl'), '{"image":\n');
    await expect(all(`v-star:${root}`)).rejects.toThrow(/line 1: it is not JSON/);
  });
});

describe('HR-Bench', () => {
  const HEADER = 'index\tquestion\timage\tanswer\tA\tB\tC\tD\tcategory\tcycle_category';
  const options = ['red', 'green', 'blue', 'two "words"'];

  function tsv(change: (line: string[], row: number) => string[] = (line) => line): string {
    const lines = [0, 1].flatMap((question) =>
      [0, 1, 2, 3].map((cycle) => {
        const turned = options.map((_, i) => options[(i + cycle) % 4] ?? '');
        const row = question * 4 + cycle;
        const image = (question === 0 ? first : second).toString('base64');
        const cells = turned.map((option) =>
          option.includes('"') ? `"${option.replaceAll('"', '""')}"` : option,
        );
        const answer = 'ABCD'[(4 - cycle) % 4] ?? '';
        const category = question === 0 ? 'single' : 'cross';
        return change(
          [String(row), `What is ${question}?`, image, answer, ...cells, category, `c${cycle}`],
          row,
        );
      }),
    );
    const file = path.join(folder('hr'), 'hr_bench_8k.tsv');
    writeFileSync(file, `${[HEADER, ...lines.map((line) => line.join('\t'))].join('\n')}\n`);
    return file;
  }

  test('four rows a question, one cluster, one image key; images read out of the file', async () => {
    const { benchmark, items } = await all(`hr-bench:${tsv()}`);
    expect(benchmark).toMatchObject({ name: 'hr-bench-8k', published: 800 });
    expect(items).toHaveLength(8);
    expect(new Set(items.map(({ cluster }) => cluster)).size).toBe(2);
    expect(new Set(items.slice(0, 4).map(({ image }) => image.key)).size).toBe(1);
    expect(items[1]?.question).toBe('What is 0?\nOptions:\nA. green\nB. blue\nC. two "words"\nD. red');
    expect(items.map(({ options: o, answer }) => o[answer.charCodeAt(0) - 65])).toEqual(Array(8).fill('red'));
    expect(items[7]?.category).toEqual(['FCP']);
    expect(await items[7]?.image.read()).toEqual(second);
  });

  test('rows that name the row of their image, before and after it', async () => {
    const file = tsv((line, row) => (row % 4 === 1 ? line : line.with(2, String(row < 4 ? 1 : 5))));
    const { items } = await all(`hr-bench:${file}`);
    expect(items.map(({ id }) => id).sort()).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    for (const item of items) expect(await item.image.read()).toEqual(Number(item.id) < 4 ? first : second);
    await expect(
      all(`hr-bench:${tsv((line, row) => (row === 2 ? line.with(2, '77') : line))}`),
    ).rejects.toThrow(/row "77", which is not there/);
  });

  test('a question with an order twice, a letter outside A to D', async () => {
    await expect(
      all(`hr-bench:${tsv((line, row) => (row === 3 ? line.with(9, 'c1') : line))}`),
    ).rejects.toThrow(/has 4 rows in 3 orders/);
    await expect(
      all(`hr-bench:${tsv((line, row) => (row === 3 ? line.with(3, 'E') : line))}`),
    ).rejects.toThrow(/row 4: answer/);
  });

  test('the parquet file, whose images are text', async () => {
    const select = [0, 1, 2, 3]
      .map(
        (cycle) =>
          `SELECT ${cycle} AS index, 'What?' AS question, '${first.toString('base64')}' AS image, '${'ADCB'[cycle]}' AS answer, 'a' AS A, 'b' AS B, 'c' AS C, 'd' AS D, 'cross' AS category, 'c${cycle}' AS cycle_category`,
      )
      .join(' UNION ALL ');
    const { items } = await all(`hr-bench:${await parquet('hr_bench_4k.parquet', select)}`);
    expect(items.map(({ id, answer }) => id + answer).sort()).toEqual(['0A', '1D', '2C', '3B']);
    expect(await items[0]?.image.read()).toEqual(first);
  });
});

describe('MME-RealWorld', () => {
  const choices = [
    '(A) red',
    "(B) it's green",
    '(C) "blue"',
    '(D) black',
    '(E) The image does not feature it.',
  ];

  test('parquet with the image as text', async () => {
    const list = choices.map((choice) => `'${choice.replaceAll("'", "''")}'`).join(', ');
    const file = await parquet(
      'mme-lite-train.parquet',
      `SELECT '${first.toString('base64')}' AS bytes, 7 AS index, 'Which colour?' AS question, [${list}] AS "multi-choice options", 'E' AS answer, 'Perception/Remote Sensing' AS category, 'color' AS "l2-category"`,
    );
    const { benchmark, items } = await all(`mme-realworld:${file}`);
    expect(benchmark.name).toBe('mme-realworld-lite');
    expect(items[0]).toMatchObject({ id: '7', answer: 'E', category: ['Perception', 'Remote Sensing'] });
    expect(items[0]?.options).toHaveLength(5);
    expect(items[0]?.question).toContain("Options:\n(A) red\n(B) it's green\n");
    // The published Lite comes in four shards: their folder is one benchmark.
    const shards = folder('mme-lite-shards');
    for (const shard of [2, 1]) copyFileSync(file, path.join(shards, `train-0000${shard}-of-00004.parquet`));
    const joined = await all(`mme-realworld:${shards}`);
    expect(joined.benchmark.name).toBe('mme-realworld-lite');
    expect(joined.items).toHaveLength(2);
  });

  test('TSV, whose options are a Python list', async () => {
    const file = path.join(folder('mme'), 'mme_realworld.tsv');
    const list = `['(A) red', "(B) it's green", '(C) "blue"', '(D) black', '(E) none']`;
    writeFileSync(
      file,
      `index\timage\tquestion\tmulti-choice options\tanswer\tcategory\tl2-category\n3\t${first.toString('base64')}\tWhich?\t"${list.replaceAll('"', '""')}"\tB\tReasoning/Monitoring\tx\n`,
    );
    const { benchmark, items } = await all(`mme-realworld:${file}`);
    expect(benchmark).toMatchObject({ name: 'mme-realworld', published: 29_429 });
    expect(items[0]).toMatchObject({ answer: 'B', category: ['Reasoning', 'Monitoring'] });
    expect(items[0]?.options[2]).toBe('"blue"');
    expect(await items[0]?.image.read()).toEqual(first);
  });

  test('JSON with image files; an unknown subtask is named', async () => {
    const root = folder('mme-lite');
    writeFileSync(path.join(root, 'a.jpg'), second);
    const row = {
      Question_id: 'q/1',
      'Question type': 'MCQ',
      Image: 'a.jpg',
      Text: 'Which?',
      'Answer choices': choices,
      'Ground truth': 'A',
      Task: 'Perception',
      Subtask: 'Diagram and Table',
      Category: 'x',
    };
    const file = path.join(root, 'x.json');
    writeFileSync(file, JSON.stringify([row]));
    expect((await all(`mme-realworld:${file}`)).items[0]).toMatchObject({ id: 'q/1', answer: 'A' });
    writeFileSync(file, JSON.stringify([{ ...row, Subtask: 'Diagrams' }]));
    await expect(all(`mme-realworld:${file}`)).rejects.toThrow(/"Perception\/Diagrams" is none/);
  });
});

describe('ReasonSeg', () => {
  test('target polygons become half-open boxes, ignored areas cut into them, flags do not count', async () => {
    const root = path.join(folder('reason-seg'), 'val');
    mkdirSync(root);
    writeFileSync(path.join(root, 'a.jpg'), first);
    const square = (x1: number, y1: number, x2: number, y2: number) => [
      [x1, y1],
      [x2, y1],
      [x2, y2],
      [x1, y2],
    ];
    writeFileSync(
      path.join(root, 'a.json'),
      JSON.stringify({
        text: ['the thing that flies', 'other wording'],
        is_sentence: false,
        shapes: [
          { label: 'target', points: square(4.6, 5.2, 20, 15) },
          { label: 'ignore_x', points: square(14, 3, 22, 17) },
          { label: 'target', points: square(30, 30, 34, 36) },
          { label: 'flag', points: square(0, 0, 1, 1) },
        ],
      }),
    );
    const { benchmark, items } = await all(`reason-seg:${root}`);
    expect(benchmark).toMatchObject({ name: 'reason-seg-val', published: 200 });
    expect(items[0]).toMatchObject({ question: 'the thing that flies', sentence: false });
    expect(items[0]?.truth).toMatchObject([
      { x1: 4, y1: 5, x2: 14, y2: 16 },
      { x1: 30, y1: 30, x2: 35, y2: 37 },
    ]);
  });

  test('a triangle by hand', () => {
    const mask = new Uint8Array(25);
    fillPolygon(
      mask,
      5,
      5,
      [
        [0, 0],
        [4, 0],
        [0, 4],
      ],
      1,
    );
    const rows = Array.from({ length: 5 }, (_, y) => [...mask.subarray(y * 5, y * 5 + 5)].join(''));
    expect(rows).toEqual(['11111', '11110', '11100', '11000', '10000']);
    expect(targetBoxes([])).toEqual([]);
  });
});

describe('questions with open answers', () => {
  test('VisualProbe and the training sets of its release', async () => {
    const root = folder('probe');
    writeFileSync(path.join(root, 'a.jpg'), first);
    const file = path.join(root, 'val.json');
    const row = (doc_id: number, problem: string, solution: string) => ({
      images: ['a.jpg'],
      doc_id,
      problem: `<image>\n${problem}`,
      solution,
      data_source: 'visual_probe_easy',
    });
    writeFileSync(
      file,
      JSON.stringify([
        row(1, 'What is written there?', 'Open'),
        row(2, 'How many?', '12'),
        row(3, 'Which?\nA. red\nB. green', 'B'),
      ]),
    );
    const { benchmark, items } = await all(`visual-probe-easy:${file}`);
    expect(benchmark).toMatchObject({ published: 141, licence: 'CC BY-NC 4.0' });
    expect(items.map(({ form, question }) => [form, question])).toEqual([
      ['text', 'What is written there?'],
      ['number', 'How many?'],
      ['choice', 'Which?\nA. red\nB. green'],
    ]);
  });

  test("ZwZ's CSV: the unboxed image, the sentence about the box taken out, the box as ground truth", async () => {
    const root = folder('zwz');
    writeFileSync(path.join(root, 'a.jpg'), first);
    const file = path.join(root, 'train_crop_clean.csv');
    writeFileSync(
      file,
      `original_images,crop_images,bbox,problem,answer,ability,data_source\n"['a.jpg']","['crop.jpg']","[10, 20, 30, 40]","<image>What is it?\nA. red\nB. green\n\nOnly focus on the objects inside the red bounding box in the image to answer this question.",B,ocr,zwz\n`,
    );
    const { items } = await all(`zwz-mini:${file}`);
    expect(items[0]).toMatchObject({
      question: 'What is it?\nA. red\nB. green',
      answer: 'B',
      form: 'choice',
      truth: [{ x1: 10, y1: 20, x2: 30, y2: 40 }],
    });
  });

  test('rows whose picture has the box drawn in are refused', async () => {
    const file = await parquet(
      'train.parquet',
      `SELECT [{'bytes': ${blob(first)}, 'path': 'x'}] AS images, 'What is inside the red bounding box?' AS problem, 'x' AS answer, [1, 2, 3, 4] AS bbox`,
    );
    await expect(all(`zwz:${file}`)).rejects.toThrow(/the answer leaks/);
  });

  test('DeepEyes-47K and ZoomBench', async () => {
    const deep = await parquet(
      'data_0.1.2_visual_toolbox_v2.parquet',
      `SELECT 'vstar' AS data_source, [{'role': 'system', 'content': 's'}, {'role': 'user', 'content': '<image>\nWhat?'}] AS prompt, [{'bytes': ${blob(first)}, 'path': 'x'}] AS images, 'vl' AS ability, 'visual_toolbox_v2' AS env_name, {'ground_truth': 'a cup', 'style': 'model'} AS reward_model, {'question': 'What is it?', 'index': 5} AS extra_info`,
    );
    expect((await all(`deepeyes-47k:${deep}`)).items[0]).toMatchObject({
      question: 'What is it?',
      answer: 'a cup',
      form: 'text',
    });
    const zoom = await parquet(
      'test.parquet',
      `SELECT {'bytes': ${blob(first)}, 'path': 'x'} AS image, {'bytes': ${blob(second)}, 'path': 'y'} AS crop_image, 'How many?' AS prompt, '3' AS answer, 'count' AS question_type`,
    );
    expect((await all(`zoom-bench:${zoom}`)).items[0]).toMatchObject({ form: 'number', category: ['count'] });
    expect(await (await all(`zoom-bench-crop:${zoom}`)).items[0]?.image.read()).toEqual(second);
  });
});

test('unknown formats, missing files and files that are no parquet are named', async () => {
  await expect(openBenchmark('mystery:/tmp', tools)).rejects.toThrow(/formats are needle, v-star/);
  await expect(openBenchmark('v-star:/nowhere', tools)).rejects.toThrow(/nothing is there/);
  const file = path.join(folder('bad'), 'x.parquet');
  writeFileSync(file, 'no parquet');
  await expect(all(`hr-bench:${file}`)).rejects.toThrow(/cannot be read as parquet/);
});

test('Python lists are read and never run', () => {
  expect(pythonStrings(`['a', "it's", 'b\\'c', 'd\\n', '\\u00e9']`)).toEqual([
    'a',
    "it's",
    "b'c",
    'd\n',
    'é',
  ]);
  expect(pythonStrings('[]')).toEqual([]);
  for (const text of ['', '[1]', "['a'", "['a'] + b", '__import__("os")', "['a' 'b']"])
    expect(pythonStrings(text)).toBeNull();
});

test('options in a question', () => {
  expect(optionsInText('What?\nOptions:\nA. a\nB. b')).toEqual({ stem: 'What?', options: ['a', 'b'] });
  expect(optionsInText('What?\n(A) a\n(C) c').options).toEqual([]);
  expect(optionsInText('A. is a letter').options).toEqual([]);
});
