"""Small public sets on disk, each in its real layout: write_<source>(root)."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.datamodules.sources.painting import rgb, save, spot, texture


def write_text(path: Path, *lines: str, encoding: str = "utf-8") -> None:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))


def write_btad(root: Path) -> None:
    """.bmp and .png mixed between products and between images and ground truths."""
    endings = {"01": ("bmp", "png"), "02": ("png", "png"), "03": ("bmp", "bmp")}
    for number, (product, (ending, truth_ending)) in enumerate(endings.items()):
        folder = root / "BTech_Dataset_transformed" / product
        for place, name in enumerate(("train/ok", "test/ok", "test/ko")):
            save(folder / f"{name}/0000.{ending}", texture(10 * number + place))
        save(folder / f"ground_truth/ko/0000.{truth_ending}", spot(255))


def write_dagm(root: Path) -> None:
    """A good and a defective image in both parts of two textures, Labels.txt as published."""
    for number in (1, 10):
        for place, first in (("Train", 576), ("Test", 1)):
            folder, good, bad = root / f"Class{number}/{place}", f"{first:04}", f"{first + 1:04}"
            save(folder / f"{good}.PNG", texture(100 * number + first))
            save(folder / f"{bad}.PNG", texture(100 * number + first + 1))
            save(folder / f"Label/{bad}_label.PNG", spot(255))
            rows = (
                f"{first}\t0\t{good}.PNG\t0\t0",
                f"{first + 1}\t1\t{bad}.PNG\t0\t{bad}_label.PNG",
            )
            write_text(folder / "Label/Labels.txt", "1\r", *(f"{row}\r" for row in rows))


def write_deeppcb(root: Path) -> None:
    """Three pairs in two groups, a template of no pair, and the lists with their wrong names."""
    write_pair(root, "00041", "00041000", "5 10 20 20 1\n1 1 9 9 6")
    write_pair(root, "00041", "00041001", "5 10 20 20 3")
    write_pair(root, "12000", "12000007", "5,10,20,20,5")
    save(root / "PCBData/group12000/12000/12000034_temp.jpg", texture(34))
    line = "group{0}/{0}/{1}.jpg group{0}/{0}_not/{1}.txt"
    training = (line.format("00041", "00041000"), line.format("12000", "12000007"))
    write_text(root / "PCBData/trainval.txt", *training)
    write_text(root / "PCBData/test.txt", line.format("00041", "00041001"))


def write_pair(root: Path, group: str, name: str, boxes: str) -> None:
    """A tested board, its template and its file of boxes."""
    folder = root / "PCBData" / f"group{group}"
    for place, kind in enumerate(("test", "temp")):
        save(folder / group / f"{name}_{kind}.jpg", texture(2 * int(name) + place))
    write_text(folder / f"{group}_not" / f"{name}.txt", boxes)


def write_elpv(root: Path) -> None:
    """Four rated cells and one without a line; columns are aligned by blanks."""
    for number in (1, 4, 5, 6, 9):
        save(root / f"images/cell{number:04}.png", texture(number))
    write_text(
        root / "labels.csv",
        "images/cell0001.png  1.0                 mono",
        "images/cell0004.png  0.0                 mono",
        "images/cell0005.png  0.3333333333333333  poly",
        "images/cell0006.png  0.6666666666666666  poly",
    )


def write_imdd1m_release(root: Path) -> None:
    """Seven images for the eight rows of five CSV files, and an image without a row."""
    write_captions(root)
    images = (
        "0-4aircraft4000/aircraft1_crack_001.jpg",
        "5-10MT_tiles/blowhole/mt3_blowhole_001.jpg",
        "5-10MT_tiles/free/MT3_FREE_001.JPG",
        "31-38solarcell/cell0001.png",
        "378_396baijiu/img_0008697.jpg",
        "378_396baijiu/img_0017151.jpg",
        "558_559semiconductor/deep/er/WEL9 - Copy.bmp",
        "558_559semiconductor/nobody_wrote_of_this.bmp",
    )
    for seed, path in enumerate(images):
        save(root / path, texture(seed))


def write_captions(root: Path) -> None:
    """The released CSV files alone, of differing headers and encodings."""
    header = "Image Name,label,Categories,Description"
    write_text(
        root / "0-4aircraft4000 - 1precise_translation_output.csv",
        header,
        'aircraft1_crack_001.jpg,0,"aircraft,crack","Aircraft industry\'s skin. Defect: A crack."',
    )
    write_text(
        root / "5-10MT_tiles/5-10MT_Tiles.csv",
        header,
        'mt3_blowhole_001.jpg,5,"tiles,blowhole","Tiles. Thin objects, ""usually"" square."',
        'mt3_free_001.jpg,9,"tiles,good",Tiles are flat.',
        'mt3_blowhole_404.jpg,5,"tiles,blowhole",A row whose image is not here.',
    )
    write_text(
        root / "31-38solarcell/31-38SOLARCELL.csv",
        header,
        'cell0001.png,31,"solar cell, monocrystalline, crack",A fracture flaw.',
    )
    write_text(
        root / "378_396baijiu/this_cap_translation_output.csv",
        "Image Name,categories,label,Description",
        'img_0008697.jpg,"cap, cap deformation, cap bad edge",381,'
        '"Noticeable ""cap deformation""."',
        "img_0017151.jpg,cap,382,A cap.\\n\\nWith the two characters of a line break.",
    )
    write_text(
        root / "558_559semiconductor/THIS_semi.csv",
        header,
        'WEL9 - Copy.bmp,558,"semiconductor,defect",'
        "The device\N{RIGHT SINGLE QUOTATION MARK}s defect.",
        encoding="cp950",
    )


def write_kolektor_sdd2(root: Path) -> None:
    """A good and a defective image in both parts, and the stray files of the archive."""
    greys = {"train/10000": 0, "train/10301": 255, "test/20000": 255, "test/20003": 0}
    for seed, (name, grey) in enumerate(greys.items()):
        save(root / f"{name}.png", texture(seed))
        save(root / f"{name}_GT.png", spot(grey))
    save(root / "train/10301 (copy).png", texture(1))
    save(root / "train/10301_GT (copy).png", spot(255))
    (root / "split_weakly_0.pyb").write_bytes(b"a pickle")


def write_mtd(root: Path) -> None:
    """Four tiles of four capture runs, the mask of one defect all zero."""
    greys = {"MT_Blowhole": 255, "MT_Crack": 200, "MT_Uneven": 0, "MT_Free": 0}
    for number, (folder, grey) in enumerate(greys.items()):
        write_tile(root, folder, f"exp1_num_{1000 * number + 7}", grey=grey, seed=number)


def write_tile(root: Path, folder: str, name: str, *, grey: int, seed: int = 0) -> None:
    """One image with the mask beside it; grey is the mask's value on the defect."""
    save(root / folder / "Imgs" / f"{name}.jpg", texture(seed))
    save(root / folder / "Imgs" / f"{name}.png", spot(grey))


def write_mvtec_ad(root: Path) -> None:
    """A coloured and a grey category; one type with an underscore in its name."""
    for number, (category, paint) in enumerate((("bottle", rgb), ("grid", texture))):
        folder = root / category
        for place, name in enumerate(("train/good", "test/good", "test/broken_large")):
            save(folder / f"{name}/000.png", paint(10 * number + place))
        save(folder / "ground_truth/broken_large/000_mask.png", spot(255))
        write_text(folder / "readme.txt", "Attribution")


Corners = tuple[int, int, int, int]


def write_neu_det(root: Path) -> None:
    """Three training images, one of them with boxes of two types, and a validation image."""
    strips: dict[str, dict[str, Corners]] = {
        "crazing_1": {"crazing": (1, 1, 50, 40)},
        "patches_104": {"inclusion": (1, 1, 30, 30), "patches": (5, 5, 9, 9)},
        "rolled-in_scale_3": {"rolled-in_scale": (6, 11, 20, 20)},
        "pitted_surface_2": {"pitted_surface": (2, 2, 8, 9)},
    }
    for stem, boxes in strips.items():
        is_test = stem == "pitted_surface_2"
        save(root / ("Validation_Images" if is_test else "IMAGES") / f"{stem}.jpg", rgb(len(stem)))
        folder = "Validation_Annotations" if is_test else "ANNOTATIONS"
        write_voc(root / folder / f"{stem}.xml", boxes)


def write_voc(path: Path, boxes: Mapping[str, Corners]) -> None:
    """A Pascal VOC file with one object per name, corners (xmin, ymin, xmax, ymax)."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = []
    for name, numbers in boxes.items():
        words = "".join(f"<{c}>{n}</{c}>" for c, n in zip(corners, numbers, strict=True))
        objects.append(f"<object><name>{name}</name><bndbox>{words}</bndbox></object>")
    # <filename> forgets the ending, as it does in the published files.
    head = f"<annotation><folder>new</folder><filename>{path.stem}</filename>"
    write_text(path, head, *objects, "</annotation>")


def write_neu_seg(root: Path) -> None:
    """Three training images, the last with two types, and a test image of the same number."""
    two_types = spot(2)
    two_types[30:, 30:35] = 3
    for seed, (place, mask) in enumerate(
        (
            ("training/000000", spot(1)),
            ("training/000001", spot(2)),
            ("training/000002", two_types),
            ("test/000000", spot(1)),
        )
    ):
        save(root / f"images/{place}.jpg", rgb(seed))
        save(root / f"annotations/{place}.png", mask)


def write_pv_multi_defect(root: Path) -> None:
    """Two panels with boxes, one whose XML holds no object, one without XML."""
    panels: dict[str, dict[str, Corners]] = {
        "img5": {"hot_spot": (5, 5, 9, 9), "black_border": (1, 1, 50, 3)},
        "img6": {"no_electricity": (11, 1, 40, 40)},
        "img7": {},
    }
    for seed, stem in enumerate((*panels, "img8"), start=5):
        save(root / f"JPEGImages/{stem}.jpg", rgb(seed))
    for stem, boxes in panels.items():
        write_voc(root / f"Annotations/{stem}.xml", boxes)


def write_real_iad(root: Path) -> None:
    """A good sample to train; to test a defective one, whose second view does not show it."""
    good = "OK/S0001/bottle_cap_0001_OK_C1_20231021130235"
    shown = "NG/AK/S0001/bottle_cap__0001_NG_AK_C1_20231023111538"
    hidden = "NG/AK/S0001/bottle_cap__0001_NG_AK_C2_20231023111538"
    entries: list[dict[str, str | None]] = []
    for seed, (code, image) in enumerate((("OK", good), ("AK", shown), ("OK", hidden))):
        save(root / f"realiad_1024/bottle_cap/{image}.jpg", texture(seed))
        mask = f"{image}.png" if code == "AK" else None
        entry = {"anomaly_class": code, "image_path": f"{image}.jpg", "mask_path": mask}
        entries.append({"category": "bottle_cap", **entry})
    save(root / f"realiad_1024/bottle_cap/{shown}.png", spot(255))
    meta = {"prefix": "bottle_cap/", "normal_class": "OK", "pre_transform": False}
    content = {"meta": meta, "train": entries[:1], "test": entries[1:]}
    write_text(root / "realiad_jsons/realiad_jsons/bottle_cap.json", json.dumps(content))


def write_severstal(root: Path) -> None:
    """Two defective images, one without a row, one to test; runs of images 40 px high."""
    for seed, name in enumerate(("0002cc93b", "0007a71bf", "000a4bcdd")):
        save(root / f"train_images/{name}.jpg", texture(seed))
    save(root / "test_images/0000f269f.jpg", texture(9))
    write_text(
        root / "train.csv",
        "ImageId,ClassId,EncodedPixels",
        "0002cc93b.jpg,1,211 10 251 10",
        "0007a71bf.jpg,3,1 40",
        "0007a71bf.jpg,4,401 80 521 5",
    )


def write_visa(root: Path) -> None:
    """Two good candles, a candle with two types in one mask, a board with one."""
    good = "candle/Data/Images/Normal/000"
    bad, truth = "Data/Images/Anomaly/000.JPG", "Data/Masks/Anomaly/000.png"
    for seed, image in enumerate((f"{good}0.JPG", f"{good}1.JPG", f"candle/{bad}", f"pcb4/{bad}")):
        save(root / image, texture(seed))
    two_types = spot(4)
    two_types[30:33, 30:40] = 6
    save(root / "candle" / truth, two_types)
    save(root / "pcb4" / truth, spot(7))
    header = "image,label,mask"
    labels = f'candle/{bad},"different colour spot,foreign particals on candle",candle/{truth}'
    write_text(root / "candle/image_anno.csv", header, f"{good}0.JPG,normal,", labels)
    write_text(root / "pcb4/image_anno.csv", header, f"pcb4/{bad},dirt,pcb4/{truth}")
    write_text(
        root / "split_csv/1cls.csv",
        "object,split,label,image,mask",
        f"candle,train,normal,{good}0.JPG,",
        f"candle,test,normal,{good}1.JPG,",
        f"candle,test,anomaly,candle/{bad},candle/{truth}",
        f"pcb4,test,anomaly,pcb4/{bad},pcb4/{truth}",
    )


def write_wm811k(root: Path) -> None:
    """Four wafers: a good one, two with a pattern, one that nobody has labelled."""
    write_wafers(root, wafer_columns())


def write_wafers(root: Path, columns: Mapping[str, object]) -> None:
    """The table of these columns."""
    pq.write_table(pa.table(columns), root / "wm811k.parquet")


def wafer_columns() -> dict[str, list]:
    """The columns as the conversion of the pickle leaves them: words are boxed in lists."""
    return {
        "waferMap": [dies(row).tolist() for row in range(4)],
        "dieSize": [1683.0] * 4,
        "lotName": ["lot1", "lot1", "lot2", "lot2"],
        "trianTestLabel": [[["Training"]], [["Training"]], [["Test"]], []],
        "failureType": [[["none"]], [["Edge-Ring"]], [["Near-full"]], []],
    }


def dies(row: int) -> np.ndarray:
    """A map (8 + row, 9) of dies, each row of the table with its own size."""
    values = np.random.default_rng(row).integers(1, 3, (8 + row, 9)).astype(np.uint8)
    values[0, 0] = 0
    return values
